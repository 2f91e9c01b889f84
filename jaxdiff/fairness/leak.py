"""What images reveal of their label once what defines it is removed: from their features, or from the images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Integer, Shaped, UInt8

from jaxdiff.errors import InputError
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.erasure import Erasure, fit_erasure
from jaxdiff.fairness.evaluation import MIN_IMAGES, LabelledImages, first_of_each
from jaxdiff.fairness.independence import independence_weights
from jaxdiff.fairness.linear_classifier import fit_linear_classifier
from jaxdiff.finished import Finished
from jaxdiff.image_classifier import DEFAULT_TRAINING, ClassifierTraining, classifier_key, train_once
from jaxdiff.quality.extractors import ClassifierExtractor, FinishedFeatures
from jaxdiff.statistics import check_labels, check_replicates, percentile_interval, ratio, resampled_sums

IMAGES_PER_DIMENSION = 100
"""Real images for each dimension of the features: the distance of sqrt(4 D / N) that the erasure leaves is then 0.2."""
LEAST_DIMENSIONS = 8
GREY = 127
"""The level of masked pixels."""


@dataclass(frozen=True)
class Leak:
    """The error of a classifier that does not see what defines the label.

    Fields:
        ber: its balanced error rate in percent; `chance` where the rest of the images reveals nothing that it finds.
        interval: percentile bootstrap interval over the tested images (2,).
        chance: 100 (1 - 1/K).
        level: of the interval.
    """

    ber: float
    interval: Float[np.ndarray, " 2"]
    chance: float
    level: float


def linear_leak(
    features: Shaped[np.ndarray, "n d"],
    labels: Integer[np.ndarray, " n"],
    halves: tuple[Integer[np.ndarray, " a"], Integer[np.ndarray, " b"]],
    *,
    values: int,
    weights: Float[np.ndarray, " n"] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Leak:
    """The balanced error rate of logistic regression, with the groups weighted equally, trained and tested on two halves.

    Arguments:
        features: erased features (N, D).
        labels: (N,), 0..K-1.
        halves: the positions of the images to train and to test on, each with every label.
        values: K.
        weights: of the images (N,), positive; by default equal.
        replicates: bootstrap samples, at least 1.
        level: of the interval, in (0, 1).
        seed: of the bootstrap.

    Raises:
        InputError: labels out of range, or a half without images of some label.
    """
    check_replicates(replicates, level)
    check_labels(labels, values=values)
    train, test = halves
    w = np.ones(len(labels)) if weights is None else weights
    members = labels[:, None] == np.arange(values)
    for indices in halves:
        absent = np.flatnonzero(~members[indices].any(axis=0))
        if len(absent):
            raise InputError(f"each of `halves` must have images of every label, got one without {absent.tolist()}")
    of_group = w[train] @ members[train]
    even = w[train] / of_group[labels[train]] * len(train) / values
    classifier = fit_linear_classifier(features[train], labels[train], values=values, weights=even)
    present = w[test, None] * members[test]
    wrong = (classifier.predict(features[test]) != labels[test])[:, None] * present

    def rate(sums):
        return 100 * ratio(*np.split(sums, 2, axis=-1)).mean(axis=-1)

    rows = np.concatenate([wrong, present], axis=1)
    resampled = resampled_sums(rows, replicates=replicates, generator=np.random.default_rng(seed))
    interval = percentile_interval(rate(resampled), level)
    return Leak(float(rate(rows.sum(axis=0))), interval, 100 * (1 - 1 / values), level)


@dataclass(frozen=True)
class BlindFeatures:
    """Features of images in which no linear classifier finds the label of real images. `fit_blind_features` makes one.

    Fields:
        classifiers: whose penultimate layers are the features.
        centre, components: their mean (F,), and their principal components (F, D).
        erasure: of the label from these.
        method: of the weights of the images, see `IndependenceWeights`.
        clipped: the share of images whose weight was limited.
        held_out: the error of a linear classifier on held-out, weighted real images: blind if it is at chance.
    """

    classifiers: Sequence[AttributeClassifier]
    centre: Float64[np.ndarray, " f"]
    components: Float64[np.ndarray, "f d"]
    erasure: Erasure
    method: str
    clipped: float
    held_out: Leak

    @property
    def blind(self) -> bool:
        """Whether chance is within or below the interval of the error on held-out real images."""
        return bool(self.held_out.interval[1] >= self.held_out.chance)

    def __call__(self, images: LabelledImages, finished: Finished | None = None) -> Float64[np.ndarray, "n d"]:
        """The erased features of a set (N, D)."""
        return self.erasure((_features(self.classifiers, images, finished) - self.centre) @ self.components)


def _features(
    classifiers: Sequence[AttributeClassifier], images: LabelledImages, finished: Finished | None
) -> Float64[np.ndarray, "n f"]:
    found = [
        FinishedFeatures(ClassifierExtractor(each.classifier), finished).of_set(images.digest, images.images)
        for each in classifiers
    ]
    return np.concatenate(found, axis=1).astype(np.float64)


def fit_blind_features(
    classifiers: Sequence[AttributeClassifier],
    images: LabelledImages,
    others: Integer[np.ndarray, "n a"],
    *,
    values: int,
    replicates: int = 1000,
    seed: int = 0,
    finished: Finished | None = None,
) -> BlindFeatures:
    """Fits features that are linearly blind to the label, on real images in which it is independent of the other attributes.

    Fitted on the evaluated set itself, or on real images as they are, the erasure would also remove hair that goes with the
    label: what is to be measured. Images are weighted by `independence_weights`; two thirds of each label fit, and the rest
    show whether it is blind to images it has not seen.

    Arguments:
        classifiers: of the label and of other attributes; their penultimate layers are the features.
        images: real images that the classifiers were not trained on, at least four of each label.
        others: their other attributes (N, A); without any, what goes with the label in real images is removed too.
        values: number of labels, K.
        replicates: of the bootstrap.
        seed: of the split and the bootstrap.
        finished: where features are kept and looked up; by default nowhere.

    Raises:
        InputError: labels out of range, or fewer than four images of some label.
    """
    check_labels(images.labels, values=values)
    counts = np.bincount(images.labels, minlength=values)
    if counts.min() < MIN_IMAGES:
        raise InputError(f"`images` must be at least {MIN_IMAGES} of every label, got {counts.tolist()}")
    fitted, first, second = _thirds(images.labels, values, seed)
    features, labels = _features(classifiers, images, finished), images.labels
    weights = independence_weights(labels[fitted], others[fitted], values=values)
    w = weights.values / weights.values.sum()
    dimensions = max(LEAST_DIMENSIONS, int(1 / np.square(w).sum() / IMAGES_PER_DIMENSION))
    centre = w @ features[fitted]
    centred = features[fitted] - centre
    components = np.linalg.eigh((centred * w[:, None]).T @ centred)[1][:, ::-1][:, :dimensions]
    reduced = (features - centre) @ components
    erasure = fit_erasure(reduced[fitted], np.eye(values)[labels[fitted]], weights=w)
    rest = np.concatenate([first, second])
    even = np.ones(len(labels))
    even[rest] = independence_weights(labels[rest], others[rest], values=values).values
    held_out = linear_leak(
        erasure(reduced), labels, (first, second), values=values, weights=even, replicates=replicates, seed=seed
    )  # fmt: skip
    return BlindFeatures(classifiers, centre, components, erasure, weights.method, weights.clipped, held_out)


def _thirds(labels: Integer[np.ndarray, " n"], values: int, seed: int) -> list[Int[np.ndarray, " _"]]:
    """Two thirds of the images of each label, and a sixth twice; at least one each."""
    order = np.random.default_rng(seed).permutation(len(labels))
    parts: list[list[np.ndarray]] = [[], [], []]
    for value in range(values):
        of_value = order[labels[order] == value]
        rest = max(2, len(of_value) // 3)
        for part, indices in zip(parts, (of_value[rest:], of_value[: rest // 2], of_value[rest // 2 : rest]), strict=True):
            part.append(indices)
    return [np.concatenate(part) for part in parts]


def masked(images: LabelledImages, region: Bool[np.ndarray, "h w"]) -> LabelledImages:
    """The images with a region, the same in all, set to grey.

    Raises:
        InputError: a region of another size.
    """
    if region.shape != images.images.shape[1:3]:
        raise InputError(f"`region` must be of {images.images.shape[1:3]} pixels as the images, got {region.shape}")
    pixels: UInt8[np.ndarray, "n h w c"] = images.images.copy()
    pixels[:, region] = GREY
    return LabelledImages(f"{images.name}, masked", pixels, images.labels)


def masked_predictions(
    train: LabelledImages,
    test: LabelledImages,
    region: Bool[np.ndarray, "h w"],
    *,
    values: int,
    count: int,
    seeds: int = 3,
    seed: int = 0,
    training: ClassifierTraining = DEFAULT_TRAINING,
    finished: Finished | None = None,
) -> Int[np.ndarray, "seeds m"]:
    """The labels of test images that classifiers predict which are trained and tested on masked images (seeds, M).

    Arguments:
        train, test: halves of a set, or real training and test images.
        region: the pixels that show what defines the label, see `jaxdiff.data.Source.defining_region`.
        values: K.
        count: training images, the first of `train`.
        seeds, seed: classifier i has seed `seed + i`.
        training: how each is trained.
        finished: where trained classifiers are kept and looked up; by default nowhere.

    Raises:
        InputError: a region of another size, or labels out of range or missing.
    """
    known, tested = masked(train, region), masked(test, region)
    chosen = first_of_each(np.arange(len(known.labels)), known.labels, min(count, len(known.labels)), values)
    predicted = []
    for i in range(seeds):
        key = classifier_key(known.digest, chosen, values=values, seed=seed + i, training=training)
        classifier = train_once(
            finished, key, known.images, known.labels, chosen, values=values, seed=seed + i, training=training
        )  # fmt: skip
        predicted.append(classifier.predict(tested.images))
    return np.stack(predicted)
