"""Measures of windows of time series (N, L, F): how a synthetic set differs from a real one.

Values are those of the data scaled to [0, 1], as in the papers.
"""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.quality.series.autocorrelation import AutocorrelationDistance, autocorrelation_distance, autocorrelations
    from jaxdiff.quality.series.constraints import Satisfaction, extremes_kept, fixed_points_kept, prices_kept
    from jaxdiff.quality.series.context import ContextEncoder, ContextFid, context_fid, train_encoders
    from jaxdiff.quality.series.correlational import correlational_distance, correlational_score, feature_correlations
    from jaxdiff.quality.series.discriminative import Discrimination, discriminative_score
    from jaxdiff.quality.series.ensemble import Coverage, crps, interval_coverage
    from jaxdiff.quality.series.floor import FloorWindows, WithFloor, floor_windows, with_floor
    from jaxdiff.quality.series.imputation import ImputationError, imputation_error, last_value, linear_interpolation
    from jaxdiff.quality.series.marginal import MarginalDistances, marginal_distances
    from jaxdiff.quality.series.masks import geometric_mask, random_mask
    from jaxdiff.quality.series.predictive import predictive_score
    from jaxdiff.quality.series.repeats import Repeats
    from jaxdiff.quality.series.trend import trend_error

__all__ = [
    "AutocorrelationDistance",
    "ContextEncoder",
    "ContextFid",
    "Coverage",
    "Discrimination",
    "FloorWindows",
    "ImputationError",
    "MarginalDistances",
    "Repeats",
    "Satisfaction",
    "WithFloor",
    "autocorrelation_distance",
    "autocorrelations",
    "context_fid",
    "correlational_distance",
    "correlational_score",
    "crps",
    "discriminative_score",
    "extremes_kept",
    "feature_correlations",
    "fixed_points_kept",
    "floor_windows",
    "geometric_mask",
    "imputation_error",
    "interval_coverage",
    "last_value",
    "linear_interpolation",
    "marginal_distances",
    "predictive_score",
    "prices_kept",
    "random_mask",
    "train_encoders",
    "trend_error",
    "with_floor",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "autocorrelation": ("AutocorrelationDistance", "autocorrelation_distance", "autocorrelations"),
        "constraints": ("Satisfaction", "extremes_kept", "fixed_points_kept", "prices_kept"),
        "context": ("ContextEncoder", "ContextFid", "context_fid", "train_encoders"),
        "correlational": ("correlational_distance", "correlational_score", "feature_correlations"),
        "discriminative": ("Discrimination", "discriminative_score"),
        "ensemble": ("Coverage", "crps", "interval_coverage"),
        "floor": ("FloorWindows", "WithFloor", "floor_windows", "with_floor"),
        "imputation": ("ImputationError", "imputation_error", "last_value", "linear_interpolation"),
        "marginal": ("MarginalDistances", "marginal_distances"),
        "masks": ("geometric_mask", "random_mask"),
        "predictive": ("predictive_score",),
        "repeats": ("Repeats",),
        "trend": ("trend_error",),
    },
)
