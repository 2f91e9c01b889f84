"""Fairness: the search for the transition point, and the judges of what was drawn."""

from jaxdiff.fairness.energy import energy_test
from jaxdiff.fairness.features import ClassifierFeatures, Whitening, whitening
from jaxdiff.fairness.judge import Classifier, judge, train_classifier
from jaxdiff.fairness.search import search_direct, search_prefix
from jaxdiff.fairness.transition import Transition

__all__ = [
    "Classifier",
    "ClassifierFeatures",
    "Transition",
    "Whitening",
    "energy_test",
    "judge",
    "search_direct",
    "search_prefix",
    "train_classifier",
    "whitening",
]
