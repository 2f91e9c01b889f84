"""Quality: how far synthetic images are from real ones, by the features of an extractor."""

from jaxdiff.quality.estimate import Estimate
from jaxdiff.quality.extractors import ClassifierExtractor, Extractor
from jaxdiff.quality.kernel import KernelDistance, kernel_distance
from jaxdiff.quality.measure import Quality, Scores, balanced_subsets, measure_quality
from jaxdiff.quality.moments import Moments, frechet_distance, frechet_estimate
from jaxdiff.quality.neighbours import density_coverage, precision_recall

__all__ = [
    "ClassifierExtractor",
    "Estimate",
    "Extractor",
    "KernelDistance",
    "Moments",
    "Quality",
    "Scores",
    "balanced_subsets",
    "density_coverage",
    "frechet_distance",
    "frechet_estimate",
    "kernel_distance",
    "measure_quality",
    "precision_recall",
]
