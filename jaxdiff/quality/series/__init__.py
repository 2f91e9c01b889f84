"""Measures of windows of time series (N, L, F): how a synthetic set differs from a real one.

Values are those of the data scaled to [0, 1], as in the papers.
"""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.quality.series.autocorrelation import AutocorrelationDistance, autocorrelation_distance, autocorrelations
    from jaxdiff.quality.series.correlational import correlational_distance, correlational_score, feature_correlations
    from jaxdiff.quality.series.discriminative import Discrimination, discriminative_score
    from jaxdiff.quality.series.floor import WithFloor, with_floor
    from jaxdiff.quality.series.marginal import MarginalDistances, marginal_distances
    from jaxdiff.quality.series.predictive import predictive_score
    from jaxdiff.quality.series.repeats import Repeats

__all__ = [
    "AutocorrelationDistance",
    "Discrimination",
    "MarginalDistances",
    "Repeats",
    "WithFloor",
    "autocorrelation_distance",
    "autocorrelations",
    "correlational_distance",
    "correlational_score",
    "discriminative_score",
    "feature_correlations",
    "marginal_distances",
    "predictive_score",
    "with_floor",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "autocorrelation": ("AutocorrelationDistance", "autocorrelation_distance", "autocorrelations"),
        "correlational": ("correlational_distance", "correlational_score", "feature_correlations"),
        "discriminative": ("Discrimination", "discriminative_score"),
        "floor": ("WithFloor", "with_floor"),
        "marginal": ("MarginalDistances", "marginal_distances"),
        "predictive": ("predictive_score",),
        "repeats": ("Repeats",),
    },
)
