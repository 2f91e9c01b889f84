"""Fairness: the search for the transition point, and the evaluation of generated images by group."""

from jaxdiff.fairness.assignment import assign
from jaxdiff.fairness.associated import associated_parity, measure_retention
from jaxdiff.fairness.attribute_classifiers import predict_attributes, train_attribute_classifiers
from jaxdiff.fairness.energy import energy_test
from jaxdiff.fairness.evaluation import evaluate_fairness
from jaxdiff.fairness.features import ClassifierFeatures, Whitening, whitening
from jaxdiff.fairness.groups import group_rates, intersect, pairwise_errors
from jaxdiff.fairness.parity import measure_parity
from jaxdiff.fairness.search import search_direct, search_prefix
from jaxdiff.fairness.spectral_search import SpectralTransition, search_spectral
from jaxdiff.fairness.tradeoff import TradeOff, choose
from jaxdiff.fairness.transition import PairTransitions, Transition
from jaxdiff.image_classifier import ImageClassifier, train_image_classifier

__all__ = [
    "ClassifierFeatures",
    "ImageClassifier",
    "PairTransitions",
    "SpectralTransition",
    "TradeOff",
    "Transition",
    "Whitening",
    "assign",
    "associated_parity",
    "choose",
    "energy_test",
    "evaluate_fairness",
    "group_rates",
    "intersect",
    "measure_parity",
    "measure_retention",
    "pairwise_errors",
    "predict_attributes",
    "search_direct",
    "search_prefix",
    "search_spectral",
    "train_attribute_classifiers",
    "train_image_classifier",
    "whitening",
]
