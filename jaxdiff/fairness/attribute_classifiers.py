"""Classifiers of every attribute, trained so that none reads one attribute off another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from jaxdiff.data.attributes import Attribute, find
from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, confusion
from jaxdiff.image_classifier import ClassifierTraining, ImageClassifier, train_image_classifier

ROUNDS = 1000
"""Sweeps of the fit over all pairs before it is given up."""

_TRAINING = ClassifierTraining()


@dataclass(frozen=True)
class AttributeClassifier:
    """A classifier of one attribute and what is known of it.

    Fields:
        attribute: what it tells.
        classifier: the trained network.
        confusion: on held-out real images; its `accuracy` is that of each value.
        effective_count: how many images of equal weight the training images are worth after balancing (Kish 1965).
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
    training: ClassifierTraining = _TRAINING,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[AttributeClassifier, ...]:
    """Trains one classifier for each attribute, on images drawn so that its attribute is independent of what misleads it.

    Another attribute's classifier sees its attribute independent of the group; the group's sees the group independent of
    each other attribute, so that only the defining feature tells it. Images are drawn with `balancing_weights`. That
    cannot remove what no column labels (a hair style where hair is not labelled), an association of three attributes at
    once, or what the attributes that are associated with the group share within it; and images of rare combinations
    are few and repeated, see `effective_count`.

    Where images can be made at will, make them without any association and nothing is left to remove:
    `embedded.generate(..., associations=dict.fromkeys(embedded.DEFAULT_ASSOCIATIONS, (0.5, 0.5)))`.

    Arguments:
        images: uint8 real images (N, H, W, C), at least 16x16.
        labels: (N, A).
        held_out_images, held_out_labels: others, to measure the confusions on; every value of every attribute occurs.
        attributes: of the columns of the labels.
        group: the name of the attribute whose groups are compared.
        seed: of the draws and of each classifier.
        training: how each classifier is trained.
        progress: called with what is being done, the classifiers done and their total.

    Returns:
        One for each attribute, in their order.

    Raises:
        InputError: an unknown group, labels that do not fit the images or attributes, or that cannot be balanced.
    """
    find(attributes, group)
    for name, part, of_part in (("labels", labels, images), ("held_out_labels", held_out_labels, held_out_images)):
        _check(name, part, attributes, len(of_part))
    others = [attribute.name for attribute in attributes if attribute.name != group]
    answer = []
    for column, attribute in enumerate(attributes):
        if progress:
            progress(f"classifier of {attribute.name}", column, len(attributes))
        pairs = [(group, name) for name in (others if attribute.name == group else [attribute.name])]
        answer.append(
            train_balanced_classifier(
                images, labels, held_out_images, held_out_labels[:, column], attributes, attribute.name, pairs=pairs,
                seed=seed, training=training,
            )
        )  # fmt: skip
    if progress:
        progress("done", len(attributes), len(attributes))
    return tuple(answer)


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
    training: ClassifierTraining = _TRAINING,
) -> AttributeClassifier:
    """Trains a classifier of one attribute on images drawn so that the two attributes of every pair are independent.

    Arguments:
        images: uint8 real images (N, H, W, C), at least 16x16.
        labels: (N, A).
        held_out_images: others, to measure the confusions on.
        held_out_labels: (M,), theirs of this attribute; every value occurs.
        attributes: of the columns of the labels.
        name: of the attribute to tell.
        pairs: as of `balancing_weights`.
        seed: of the draw and of the classifier.
        training: how it is trained.

    Raises:
        InputError: an unknown attribute, or labels that do not fit or cannot be balanced.
    """
    column = find(attributes, name)
    values = len(attributes[column].values)
    weights = balancing_weights(labels, attributes, pairs)
    drawn = _systematic(weights, seed)
    classifier = train_image_classifier(images[drawn], labels[drawn, column], values=values, seed=seed, training=training)
    table = confusion(classifier.predict(held_out_images), held_out_labels, values=values)
    return AttributeClassifier(attributes[column], classifier, table, float(1 / np.square(weights).sum()))


def predict_attributes(
    classifiers: Sequence[AttributeClassifier], images: UInt8[np.ndarray, "n h w c"]
) -> Int[np.ndarray, "n a"]:
    """The predicted value of every attribute of images (N, A), a column for each classifier."""
    return np.stack([of_attribute.classifier.predict(images) for of_attribute in classifiers], axis=1)


def balancing_weights(
    labels: Integer[np.ndarray, "n a"], attributes: Sequence[Attribute], pairs: Sequence[tuple[str, str]]
) -> Float[np.ndarray, " n"]:
    """Weights of images under which the two attributes of every pair are independent, each as frequent as it is.

    Iterative proportional fitting (Deming and Stephan 1940): of all weights with these tables, those nearest to equal ones
    in KL divergence.

    Arguments:
        labels: (N, A).
        attributes: of the columns.
        pairs: names of two attributes each; none leaves the weights equal.

    Returns:
        (N,), positive, of sum 1.

    Raises:
        InputError: labels that do not fit, an unknown attribute, two values of a pair that occur but never together, or pairs
            that cannot be independent all at once.
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
    raise InputError(f"`labels` cannot be balanced: no weights make all of {list(pairs)} independent at once")


def _table(labels, attributes, pair):
    """The cell of a pair of values that each image lies in, and the share of each cell under independence."""
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


def _systematic(weights, seed) -> Int[np.ndarray, " n"]:
    """As many draws as weights: image i occurs N w_i times, rounded up or down at random (systematic sampling)."""
    points = (np.random.default_rng(seed).random() + np.arange(len(weights))) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1)


def _check(name, labels, attributes, images) -> None:
    sizes = [len(attribute.values) for attribute in attributes]
    fits = labels.shape == (images, len(sizes)) and images > 0 and (labels >= 0).all() and (labels < sizes).all()
    if not fits:
        raise InputError(
            f"`{name}` must have a row for each of {images} images and a column for each of {len(sizes)} attributes, "
            f"with entries from 0 to below {sizes}; got shape {labels.shape}"
        )
