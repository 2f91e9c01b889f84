"""TensorFlow Datasets builders for face data sets that must be downloaded by hand."""

from jaxdiff.data.builders.celeb_a_manual import CelebAManual
from jaxdiff.data.builders.fair_face_manual import FairFaceManual

__all__ = ["CelebAManual", "FairFaceManual"]
