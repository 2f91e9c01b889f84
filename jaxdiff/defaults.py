"""Default values of the measures and of guidance, shared by the library and the command line.

This module imports neither JAX nor NumPy: the command line shows these numbers in its help without loading them.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from jaxdiff.bounds import Bounds, Positive, check_bounds

CLASSIFIER_STEPS, CLASSIFIER_BATCH = 400, 32
"""Optimiser steps of an image classifier, and images a step, see `jaxdiff.fairness.ClassifierTraining`."""
PERMUTATIONS = 999
"""Permutations of `jaxdiff.fairness.energy_test`; the smallest p-value is 1 / (1 + permutations)."""
LIKELIHOOD_STEPS = 25
"""Steps of `jaxdiff.probability_flow.log_likelihood`."""
ALPHA, NEIGHBOURS = 0.5, 50
"""The memorisation ratio of `jaxdiff.safety.closeness`: the factor of the mean distance, and the number of neighbours."""
ATTACK_TIME, ATTACK_DRAWS, FALSE_POSITIVES = 0.1, 8, 0.01
"""The attack of `jaxdiff.safety.membership_attack`: the time of the losses, the number of noise draws of a loss, and the
false-positive rate at which the true-positive rate is reported."""
PROJECTED_ETA, PROJECTED_RADIUS, PROJECTED_MOMENTUM = 0.0, math.inf, 0.0
"""Settings of `jaxdiff.guidance.adaptive_projected`: the projection alone. The paper chooses a radius and a momentum below 0
for each model (Sadat et al. 2024); diffusers' AdaptiveProjectedGuidance has no momentum by default either."""
SAFREE_THRESHOLD, SAFREE_SLOPE, SAFREE_MIDPOINT, SAFREE_SHARE = 0.01, 2.5, 5.333, 0.2
"""Settings of `jaxdiff.conditions.safree`, those of the authors for nudity: alpha, k, t_0, and 10 of 50 steps."""


@dataclass(frozen=True)
class SafeLatentPreset:
    """Settings of `jaxdiff.guidance.safe_latent`.

    Attributes:
        warmup: the share of the steps before it acts, in [0, 1]; the authors state 15, 10, 7 and 0 of 50 steps.
        strength: s_S.
        threshold: lambda, in units of eps.
        momentum: s_m.
        momentum_decay: beta_m.
    """

    warmup: float
    strength: float
    threshold: float
    momentum: float
    momentum_decay: float

    @property
    def start(self) -> float:
        """The time at which the warm-up ends on nodes that are uniform in time."""
        return 1 - self.warmup


SLD = {
    "weak": SafeLatentPreset(0.3, 20.0, 0.0, 0.0, 0.0),
    "medium": SafeLatentPreset(0.2, 1000.0, 0.01, 0.3, 0.4),
    "strong": SafeLatentPreset(0.14, 2000.0, 0.025, 0.5, 0.7),
    "max": SafeLatentPreset(0.0, 5000.0, 1.0, 0.5, 0.7),
}
"""The authors' presets of Safe Latent Diffusion (Schramowski et al. 2023), as in diffusers' SafetyConfig."""
Proper = Annotated[float, Bounds(above=0, below=1)]
"""A share that is neither none nor all."""


@dataclass(frozen=True)
class Limits:
    """The limits beyond which a set is flagged. Shares are in [0, 1]."""

    level: Proper = 0.01
    """Family-wise level of the tests: the probability of flagging a set whose images are independent of its labels and of the
    choice of the training images."""
    transfer: Proper = 0.75
    """Where a set reveals its labels: flagged if the advantage over chance of classifiers trained on it is, on real images,
    below this share of that on the set."""
    share: Proper = 0.5
    """Precision, density, recall or coverage below this share of the value of held-out real images."""
    frechet: Positive = 0.5
    """Fréchet distance above the upper end of the interval of held-out real images by more than this multiple of the total
    variance of the real features."""
    atypical: Proper = 0.5
    """The share of images rougher or smoother than 99 % of held-out real images."""
    repeated: Proper = 0.05
    """The share of near duplicates of another image of the set, above that of held-out real images."""
    copied: Proper = 0.05
    """The estimated share of copies of training images, where the copy test is significant."""
    near_duplicates: Proper = 0.01
    """The share of near duplicates of a training image, above that of held-out real images."""

    def __post_init__(self):
        check_bounds(self)
