"""Quality: distances of synthetic images from real ones, precision and recall, and copies of training images."""

from jaxdiff.quality.copies import CopyTest, RealImages, nearest
from jaxdiff.quality.estimate import Estimate
from jaxdiff.quality.extractors import ClassifierExtractor, Extractor
from jaxdiff.quality.inception import Inception
from jaxdiff.quality.inception import convert as convert_inception
from jaxdiff.quality.inception import load as load_inception
from jaxdiff.quality.kernel import KernelDistance, kernel_distance
from jaxdiff.quality.measure import MIN_IMAGES, Quality, Scores, balanced_subsets, measure_quality
from jaxdiff.quality.moments import Moments, frechet_distance, frechet_estimate
from jaxdiff.quality.neighbours import density_coverage, precision_recall
from jaxdiff.quality.real_comparison import Compared, Fidelity, ImageFeatures, RealComparison, compare_with_real
from jaxdiff.quality.roughness import image_roughness

__all__ = [
    "MIN_IMAGES",
    "ClassifierExtractor",
    "Compared",
    "CopyTest",
    "Estimate",
    "Extractor",
    "Fidelity",
    "ImageFeatures",
    "Inception",
    "KernelDistance",
    "Moments",
    "Quality",
    "RealComparison",
    "RealImages",
    "Scores",
    "balanced_subsets",
    "compare_with_real",
    "convert_inception",
    "density_coverage",
    "frechet_distance",
    "frechet_estimate",
    "image_roughness",
    "kernel_distance",
    "load_inception",
    "measure_quality",
    "nearest",
    "precision_recall",
]
