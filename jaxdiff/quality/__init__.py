"""Quality: distances of synthetic images or series from real ones, precision and recall, and copies of training images."""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.quality import inception, series
    from jaxdiff.quality.agreement import Agreement, measure_agreement
    from jaxdiff.quality.copies import CopyTest, RealImages, nearest
    from jaxdiff.quality.diversity import Diversity, measure_diversity
    from jaxdiff.quality.estimate import Estimate
    from jaxdiff.quality.extractors import ClassifierExtractor, Extractor
    from jaxdiff.quality.kernel import KernelDistance, kernel_distance
    from jaxdiff.quality.measure import MIN_IMAGES, Quality, Scores, balanced_subsets, measure_quality
    from jaxdiff.quality.moments import Moments, Normal, frechet_distance, frechet_estimate, frechet_estimate_to
    from jaxdiff.quality.neighbours import density_coverage, precision_recall
    from jaxdiff.quality.real_comparison import Compared, Fidelity, ImageFeatures, RealComparison, compare_with_real
    from jaxdiff.quality.reference_file import ReferenceFile, load_reference
    from jaxdiff.quality.roughness import image_roughness

__all__ = [
    "MIN_IMAGES",
    "Agreement",
    "ClassifierExtractor",
    "Compared",
    "CopyTest",
    "Diversity",
    "Estimate",
    "Extractor",
    "Fidelity",
    "ImageFeatures",
    "KernelDistance",
    "Moments",
    "Normal",
    "Quality",
    "RealComparison",
    "RealImages",
    "ReferenceFile",
    "Scores",
    "balanced_subsets",
    "compare_with_real",
    "density_coverage",
    "frechet_distance",
    "frechet_estimate",
    "frechet_estimate_to",
    "image_roughness",
    "inception",
    "kernel_distance",
    "load_reference",
    "measure_agreement",
    "measure_diversity",
    "measure_quality",
    "nearest",
    "precision_recall",
    "series",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "": ("inception", "series"),
        "agreement": ("Agreement", "measure_agreement"),
        "copies": ("CopyTest", "RealImages", "nearest"),
        "diversity": ("Diversity", "measure_diversity"),
        "estimate": ("Estimate",),
        "extractors": ("ClassifierExtractor", "Extractor"),
        "kernel": ("KernelDistance", "kernel_distance"),
        "measure": ("MIN_IMAGES", "Quality", "Scores", "balanced_subsets", "measure_quality"),
        "moments": ("Moments", "Normal", "frechet_distance", "frechet_estimate", "frechet_estimate_to"),
        "neighbours": ("density_coverage", "precision_recall"),
        "real_comparison": ("Compared", "Fidelity", "ImageFeatures", "RealComparison", "compare_with_real"),
        "reference_file": ("ReferenceFile", "load_reference"),
        "roughness": ("image_roughness",),
    },
)
