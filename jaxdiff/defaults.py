"""What the measures take where nothing else is said.

This module imports neither JAX nor NumPy: the command line shows these numbers in its help, before any array is needed.
"""

from dataclasses import dataclass, fields

from jaxdiff.errors import InputError

CLASSIFIER_STEPS, CLASSIFIER_BATCH = 400, 32
"""Optimiser steps of an attribute classifier, and images a step, see `jaxdiff.fairness.judge.Training`."""
LIKELIHOOD_STEPS = 25
"""Steps of `jaxdiff.probability_flow.log_likelihood`."""
ALPHA, NEIGHBOURS = 0.5, 50
"""The memorisation ratio of `jaxdiff.safety.memorization`: the factor of the mean distance, and of how many it is the mean."""
ATTACK_TIME, ATTACK_DRAWS, FALSE_POSITIVES = 0.1, 8, 0.01
"""The attack of `jaxdiff.safety.membership`: its time, the noises that a loss is the mean over, and the share of false
positives at which that of true ones is reported."""


@dataclass(frozen=True)
class Limits:
    """When a set is flagged. Shares are in [0, 1]."""

    level: float = 0.01
    """The probability that tests flag a set whose images are independent of its labels and of the choice of the training
    images; all tests of a set share it."""
    transfer: float = 0.75
    """Where a set gives its label away: its classifiers are on real images less than this share as far from a coin's BER as on
    the set."""
    share: float = 0.5
    """Precision, density, recall or coverage below this share of what held-out real images reach."""
    frechet: float = 0.5
    """Fréchet distance beyond the upper end of that of held-out real images by more than this multiple of the total variance of
    the real features."""
    unlike: float = 0.5
    """The share of images rougher or smoother than 99 % of held-out real images."""
    repeated: float = 0.05
    """The share of images that nearly repeat another one of the set, beyond that share of held-out real images."""
    copied: float = 0.05
    """The share of images that are copies of training images: more is flagged where the test of memorisation is sure."""
    close: float = 0.01
    """The share of images that nearly repeat a training image, beyond that share of held-out real images."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0 or (value >= 1 and field.name != "frechet"):
                raise InputError(f"`{field.name}` must be above 0{' and below 1' * (field.name != 'frechet')}, got {value}")
