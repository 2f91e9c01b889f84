"""Attribute classifiers, trained on weighted images so that none relies on an associated attribute."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from jaxdiff.data.attributes import Attribute, find
from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, confusion_matrix
from jaxdiff.finished import Finished, checksum, run_all
from jaxdiff.image_classifier import DEFAULT_TRAINING, ClassifierTraining, ImageClassifier, classifier_key, train_once

ROUNDS = 1000
"""Maximum number of sweeps of the proportional fitting."""


@dataclass(frozen=True)
class AttributeClassifier:
    """A classifier of one attribute with its confusion matrix.

    Fields:
        attribute: the attribute that it predicts.
        classifier: the trained network.
        confusion: on held-out real images; its `accuracy` is that of each value.
        effective_count: the effective sample size of the weighted training images (Kish 1965).
    """

    attribute: Attribute
    classifier: ImageClassifier
    confusion: Confusion
    effective_count: float


def train_attribute_classifiers(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, "rows a"],
    held_out_images: UInt8[np.ndarray, "m h w c"],
    held_out_labels: Integer[np.ndarray, "held_out_rows b"],
    attributes: Sequence[Attribute],
    *,
    group: str,
    seed: int = 0,
    training: ClassifierTraining = DEFAULT_TRAINING,
    finished: Finished | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[AttributeClassifier, ...]:
    """Trains one classifier for each attribute, on images resampled so that confounding attributes are independent of it.

    For the classifier of the group, the group is independent of each other attribute, so that only its defining feature is
    informative; for the classifier of another attribute, that attribute is independent of the group. Images are resampled with
    `balancing_weights`. This does not remove unlabelled confounders (a hair style where hair is not labelled), interactions of
    three attributes, or associations among the other attributes within a group. Images of rare combinations are few and
    repeated, see `effective_count`.

    Where images are synthetic, generate them without association instead:
    `embedded.generate(..., associations=dict.fromkeys(embedded.DEFAULT_ASSOCIATIONS, (0.5, 0.5)))`.

    Arguments:
        images: uint8 real images (N, H, W, C), at least 16x16.
        labels: their attributes (N, A).
        held_out_images, held_out_labels: other real images, to measure the confusion matrices on; every value of every
            attribute must occur.
        attributes: of the columns of the labels.
        group: the name of the attribute that defines the groups.
        seed: of the resampling and of each classifier.
        training: how each classifier is trained.
        finished: where trained classifiers are kept and looked up; by default nowhere.
        progress: called with a description, the classifiers done and their number; first with those that were finished.

    Returns:
        One for each attribute, in their order.

    Raises:
        InputError: an unknown group, labels that do not fit the images or attributes, or that cannot be balanced.
    """
    find(attributes, group)
    for name, part, of_part in (("labels", labels, images), ("held_out_labels", held_out_labels, held_out_images)):
        _check(name, part, attributes, len(of_part))
    others = [attribute.name for attribute in attributes if attribute.name != group]
    given, parts = Resampled(images, labels, attributes), []
    for column, attribute in enumerate(attributes):
        pairs = [(group, name) for name in (others if attribute.name == group else [attribute.name])]
        held_out = held_out_images, held_out_labels[:, column]
        key, run = given.part(attribute.name, *held_out, pairs=pairs, seed=seed, training=training, finished=finished)
        parts.append((f"classifier of {attribute.name}", key, run))
    return tuple(run_all(finished, parts, progress))


def train_balanced_classifier(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, "n a"],
    held_out_images: UInt8[np.ndarray, "m h w c"],
    held_out_labels: Integer[np.ndarray, " m"],
    attributes: Sequence[Attribute],
    name: str,
    *,
    pairs: Sequence[tuple[str, str]],
    seed: int = 0,
    training: ClassifierTraining = DEFAULT_TRAINING,
    finished: Finished | None = None,
) -> AttributeClassifier:
    """Trains a classifier of one attribute on images resampled so that the two attributes of every pair are independent.

    Arguments:
        images: uint8 real images (N, H, W, C), at least 16x16.
        labels: their attributes (N, A).
        held_out_images: other real images, to measure the confusion matrix on.
        held_out_labels: their values of this attribute (M,); every value must occur.
        attributes: of the columns of the labels.
        name: of the attribute to predict.
        pairs: as in `balancing_weights`.
        seed: of the resampling and of the classifier.
        training: how it is trained.
        finished: where the trained classifier is kept and looked up; by default nowhere.

    Raises:
        InputError: an unknown attribute, or labels that do not fit or cannot be balanced.
    """
    given = Resampled(images, labels, attributes)
    _, run = given.part(
        name, held_out_images, held_out_labels, pairs=pairs, seed=seed, training=training, finished=finished
    )  # fmt: skip
    return run()


@dataclass(frozen=True)
class Resampled:
    """Images with attributes, of which classifiers are trained on samples in which attributes are independent.

    Fields:
        images: uint8 real images (N, H, W, C), at least 16x16.
        labels: their attributes (N, A).
        attributes: of the columns of the labels.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Integer[np.ndarray, "rows a"]
    attributes: Sequence[Attribute]

    @cached_property
    def _digest(self) -> str:
        return checksum((self.images, self.labels))

    def part(
        self,
        name: str,
        held_out_images: UInt8[np.ndarray, "m h w c"],
        held_out_labels: Integer[np.ndarray, " m"],
        *,
        pairs: Sequence[tuple[str, str]],
        seed: int,
        training: ClassifierTraining,
        finished: Finished | None,
    ) -> tuple[str, Callable[[], AttributeClassifier]]:
        """The key of a classifier and the function that trains or finds it, for `jaxdiff.finished.run_all`; arguments as in
        `train_balanced_classifier`."""
        column = find(self.attributes, name)
        values = len(self.attributes[column].values)
        weights = balancing_weights(self.labels, self.attributes, pairs)
        drawn = _systematic(weights, seed)
        how: dict[str, Any] = {"values": values, "seed": seed, "training": training}
        key = classifier_key(f"{self._digest} column {column}", drawn, **how)

        def run() -> AttributeClassifier:
            classifier = train_once(finished, key, self.images, self.labels[:, column], drawn, **how)
            table = confusion_matrix(classifier.predict(held_out_images), held_out_labels, values=values)
            return AttributeClassifier(self.attributes[column], classifier, table, float(1 / np.square(weights).sum()))

        return key, run


def predict_attributes(
    classifiers: Sequence[AttributeClassifier], images: UInt8[np.ndarray, "n h w c"]
) -> Int[np.ndarray, "n a"]:
    """The predicted value of every attribute of images (N, H, W, C): (N, A), a column for each classifier."""
    return np.stack([each.classifier.predict(images) for each in classifiers], axis=1)


def balancing_weights(
    labels: Integer[np.ndarray, "n a"], attributes: Sequence[Attribute], pairs: Sequence[tuple[str, str]]
) -> Float[np.ndarray, " n"]:
    """Weights of images under which the two attributes of every pair are independent, with unchanged marginals.

    Iterative proportional fitting (Deming and Stephan 1940): of all such weights, those of least KL divergence from equal ones.

    Arguments:
        labels: (N, A).
        attributes: of the columns.
        pairs: names of two attributes each; with none the weights are equal.

    Returns:
        (N,), positive, that sum to 1.

    Raises:
        InputError: labels out of range, an unknown attribute, two values of a pair that occur but never together, or pairs
            that cannot all be independent at the same time.
    """
    _check("labels", labels, attributes, len(labels))
    tables = [_table(labels, attributes, pair) for pair in pairs]
    weights = np.full(len(labels), 1 / len(labels))
    for _ in range(ROUNDS):
        change = 0.0
        for cells, target in tables:
            now = np.bincount(cells, weights=weights, minlength=len(target))
            change = max(change, float(np.abs(now - target).max()))
            weights = weights * (target / np.where(target > 0, now, 1))[cells]
        if change < 1e-9:
            return weights
    raise InputError(f"`labels` cannot be balanced: no weights make all of {list(pairs)} independent at the same time")


def _table(
    labels: Integer[np.ndarray, "n a"], attributes: Sequence[Attribute], pair: tuple[str, str]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " cells"]]:
    """The cell of each image in the contingency table of a pair, and the share of each cell under independence."""
    first, second = (find(attributes, name) for name in pair)
    shape = len(attributes[first].values), len(attributes[second].values)
    cells = np.ravel_multi_index((labels[:, first], labels[:, second]), shape)
    joint = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape) / len(labels)
    target = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    for a, b in np.argwhere((joint == 0) & (target > 0)):
        raise InputError(
            f"`labels` cannot be balanced: no image has {pair[0]} {attributes[first].values[a]} "
            f"and {pair[1]} {attributes[second].values[b]}"
        )
    return cells, target.reshape(-1)


def _systematic(weights: Float[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " n"]:
    """Indices of N images by systematic sampling: image i occurs N w_i times, rounded up or down at random."""
    points = (np.random.default_rng(seed).random() + np.arange(len(weights))) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1)


def _check(name: str, labels: Integer[np.ndarray, "n a"], attributes: Sequence[Attribute], images: int) -> None:
    sizes = [len(attribute.values) for attribute in attributes]
    fits = labels.shape == (images, len(sizes)) and images > 0 and (labels >= 0).all() and (labels < sizes).all()
    if not fits:
        raise InputError(
            f"`{name}` must have a row for each of {images} images and a column for each of {len(sizes)} attributes, "
            f"with entries from 0 to below {sizes}; got shape {labels.shape}"
        )
