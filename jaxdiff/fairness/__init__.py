"""Fairness: searches for the transition point, and the evaluation of generated images by group."""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.fairness.assignment import assign
    from jaxdiff.fairness.associated import AssociatedParity, Retention, associated_parity, measure_retention, total_variation
    from jaxdiff.fairness.attribute_classifiers import (
        AttributeClassifier,
        balancing_weights,
        predict_attributes,
        train_attribute_classifiers,
        train_balanced_classifier,
    )
    from jaxdiff.fairness.chance import ChanceTest, chance_test
    from jaxdiff.fairness.confusion import Confusion, confusion_matrix, unmix
    from jaxdiff.fairness.energy import EnergyTest, energy_distance, energy_test
    from jaxdiff.fairness.erasure import Erasure, fit_erasure
    from jaxdiff.fairness.evaluation import FairnessEvaluation, LabelledImages, Predictions, SetEvaluation, evaluate_fairness
    from jaxdiff.fairness.feature_classifiers import train_feature_classifiers
    from jaxdiff.fairness.features import AfterDecoding, ClassifierFeatures, Whitening, whitening
    from jaxdiff.fairness.findings import Finding, Limits, find_faults
    from jaxdiff.fairness.groups import (
        GroupRates,
        Intersection,
        PairwiseErrors,
        PairwiseSummary,
        group_rates,
        intersect,
        pairwise_errors,
        summarise_pairs,
    )
    from jaxdiff.fairness.independence import IndependenceWeights, independence_weights
    from jaxdiff.fairness.leak import BlindFeatures, Leak, fit_blind_features, linear_leak, masked, masked_predictions
    from jaxdiff.fairness.linear_classifier import LinearClassifier, fit_linear_classifier
    from jaxdiff.fairness.metrics import GroupErrors, Summary, group_errors, summarise
    from jaxdiff.fairness.pareto import ParityCurve, parity_curve
    from jaxdiff.fairness.parity import Parity, ParitySummary, measure_parity
    from jaxdiff.fairness.regions import label_map, label_region
    from jaxdiff.fairness.search import search_direct, search_prefix
    from jaxdiff.fairness.slack import Slack, measure_slack
    from jaxdiff.fairness.spectral_search import SpectralTransition, search_spectral
    from jaxdiff.fairness.subspaces import AssociatedSubspace, associated_subspace
    from jaxdiff.fairness.tradeoff import TradeOff, choose_trade_off, measure_trade_off
    from jaxdiff.fairness.transition import PairTransitions, SearchResult, Transition, pair_transitions
    from jaxdiff.fairness.unchanged import Unchanged, measure_unchanged
    from jaxdiff.finished import Finished
    from jaxdiff.image_classifier import ClassifierTraining, ImageClassifier, train_image_classifier

__all__ = [
    "AfterDecoding",
    "AssociatedParity",
    "AssociatedSubspace",
    "AttributeClassifier",
    "BlindFeatures",
    "ChanceTest",
    "ClassifierFeatures",
    "ClassifierTraining",
    "Confusion",
    "EnergyTest",
    "Erasure",
    "FairnessEvaluation",
    "Finding",
    "Finished",
    "GroupErrors",
    "GroupRates",
    "ImageClassifier",
    "IndependenceWeights",
    "Intersection",
    "LabelledImages",
    "Leak",
    "Limits",
    "LinearClassifier",
    "PairTransitions",
    "PairwiseErrors",
    "PairwiseSummary",
    "Parity",
    "ParityCurve",
    "ParitySummary",
    "Predictions",
    "Retention",
    "SearchResult",
    "SetEvaluation",
    "Slack",
    "SpectralTransition",
    "Summary",
    "TradeOff",
    "Transition",
    "Unchanged",
    "Whitening",
    "assign",
    "associated_parity",
    "associated_subspace",
    "balancing_weights",
    "chance_test",
    "choose_trade_off",
    "confusion_matrix",
    "energy_distance",
    "energy_test",
    "evaluate_fairness",
    "find_faults",
    "fit_blind_features",
    "fit_erasure",
    "fit_linear_classifier",
    "group_errors",
    "group_rates",
    "independence_weights",
    "intersect",
    "label_map",
    "label_region",
    "linear_leak",
    "masked",
    "masked_predictions",
    "measure_parity",
    "measure_retention",
    "measure_slack",
    "measure_trade_off",
    "measure_unchanged",
    "pair_transitions",
    "pairwise_errors",
    "parity_curve",
    "predict_attributes",
    "search_direct",
    "search_prefix",
    "search_spectral",
    "summarise",
    "summarise_pairs",
    "total_variation",
    "train_attribute_classifiers",
    "train_balanced_classifier",
    "train_feature_classifiers",
    "train_image_classifier",
    "unmix",
    "whitening",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".finished": ("Finished",),
        ".image_classifier": ("ClassifierTraining", "ImageClassifier", "train_image_classifier"),
        "assignment": ("assign",),
        "associated": ("AssociatedParity", "Retention", "associated_parity", "measure_retention", "total_variation"),
        "attribute_classifiers": (
            "AttributeClassifier",
            "balancing_weights",
            "predict_attributes",
            "train_attribute_classifiers",
            "train_balanced_classifier",
        ),
        "chance": ("ChanceTest", "chance_test"),
        "confusion": ("Confusion", "confusion_matrix", "unmix"),
        "energy": ("EnergyTest", "energy_distance", "energy_test"),
        "erasure": ("Erasure", "fit_erasure"),
        "evaluation": ("FairnessEvaluation", "LabelledImages", "Predictions", "SetEvaluation", "evaluate_fairness"),
        "feature_classifiers": ("train_feature_classifiers",),
        "features": ("AfterDecoding", "ClassifierFeatures", "Whitening", "whitening"),
        "findings": ("Finding", "Limits", "find_faults"),
        "groups": (
            "GroupRates",
            "Intersection",
            "PairwiseErrors",
            "PairwiseSummary",
            "group_rates",
            "intersect",
            "pairwise_errors",
            "summarise_pairs",
        ),
        "independence": ("IndependenceWeights", "independence_weights"),
        "leak": ("BlindFeatures", "Leak", "fit_blind_features", "linear_leak", "masked", "masked_predictions"),
        "linear_classifier": ("LinearClassifier", "fit_linear_classifier"),
        "metrics": ("GroupErrors", "Summary", "group_errors", "summarise"),
        "pareto": ("ParityCurve", "parity_curve"),
        "parity": ("Parity", "ParitySummary", "measure_parity"),
        "regions": ("label_map", "label_region"),
        "search": ("search_direct", "search_prefix"),
        "slack": ("Slack", "measure_slack"),
        "spectral_search": ("SpectralTransition", "search_spectral"),
        "subspaces": ("AssociatedSubspace", "associated_subspace"),
        "tradeoff": ("TradeOff", "choose_trade_off", "measure_trade_off"),
        "transition": ("PairTransitions", "SearchResult", "Transition", "pair_transitions"),
        "unchanged": ("Unchanged", "measure_unchanged"),
    },
)
