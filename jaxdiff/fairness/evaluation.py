"""Fairness of labelled sets of images: error rates of classifiers trained on one set and tested on another, and distances."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float32, Int, Integer, UInt8

from jaxdiff.defaults import PERMUTATIONS
from jaxdiff.errors import InputError
from jaxdiff.fairness.chance import ChanceTest, chance_test
from jaxdiff.fairness.energy import EnergyTest, energy_test
from jaxdiff.fairness.groups import PairwiseSummary, summarise_pairs
from jaxdiff.fairness.metrics import Summary, summarise
from jaxdiff.image_classifier import DEFAULT_TRAINING, ClassifierTraining, ImageClassifier, train_image_classifier
from jaxdiff.spaces.pixels import scaled
from jaxdiff.statistics import check_labels

MIN_IMAGES = 4
"""Images of each value that a set needs: two in each half."""


@dataclass(frozen=True)
class LabelledImages:
    """A named set of images, each with a value of the evaluated attribute.

    Fields:
        name: for error messages and reports.
        images: uint8 (N, H, W, C).
        labels: (N,) integers in 0..K-1.
    """

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    labels: Integer[np.ndarray, " m"]

    def take(self, indices: Integer[np.ndarray, " taken"]) -> "LabelledImages":
        """The subset with these indices, in their order."""
        return LabelledImages(self.name, self.images[indices], self.labels[indices])

    def halves(self, *, values: int, seed: int) -> tuple["LabelledImages", "LabelledImages"]:
        """Two disjoint, shuffled halves, each with half of the images of every value."""
        first, second = self.half_indices(values=values, seed=seed)
        return self.take(first), self.take(second)

    def half_indices(self, *, values: int, seed: int) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
        """The indices of the images in each of the `halves`."""
        order = np.random.default_rng(seed).permutation(len(self.labels))
        of_value = [order[self.labels[order] == value] for value in range(values)]
        halves = [np.concatenate([part[half::2] for part in of_value]) for half in (0, 1)]
        mix = np.random.default_rng(seed + 1)
        return mix.permutation(halves[0]), mix.permutation(halves[1])


@dataclass(frozen=True)
class Predictions:
    """Predictions of several classifiers, one a seed, on one set of test images.

    Fields:
        scores: the logits of each classifier (seeds, N, K).
        labels: the labels of the images (N,).
        indices: the positions of the images (N,): among the real test images in synthetic->real and real->real, else in the
            synthetic set.
    """

    scores: Float32[np.ndarray, "seeds n k"]
    labels: Integer[np.ndarray, " n"]
    indices: Integer[np.ndarray, " n"]

    @property
    def predicted(self) -> Int[np.ndarray, "seeds n"]:
        """The most likely labels (seeds, N)."""
        return self.scores.argmax(axis=-1)


@dataclass(frozen=True)
class SetEvaluation:
    """Measurements of one set of images.

    Fields:
        name: of the set; `Real` for the real one.
        count: images of each value (K,).
        directions: error rates by direction, "training set->test set": `synthetic->real`, `real->synthetic` and
            `synthetic->synthetic` for a synthetic set, `real->real` for the real one.
        pairs: error rates of each pair of values, by direction; empty for two values, which `directions` covers.
        predictions: the predictions that these were computed from, by direction.
        energy: the energy test between the images of two values, by space (`pixels`, `features`) and pair of values.
        chance: tests of independence of labels and predictions, for `real->synthetic` and `synthetic->synthetic`; empty for
            the real set.
    """

    name: str
    count: Integer[np.ndarray, " k"]
    directions: Mapping[str, Summary]
    pairs: Mapping[str, PairwiseSummary]
    predictions: Mapping[str, Predictions]
    energy: Mapping[str, Mapping[tuple[int, int], EnergyTest]]
    chance: Mapping[str, ChanceTest]


@dataclass(frozen=True)
class FairnessEvaluation:
    """The result of `evaluate_fairness`.

    Fields:
        real: of the real test images.
        synthetic: of each synthetic set.
        classifier: the first classifier trained on real images, in whose features the energy distance is measured.
        train_count: training images of each classifier.
        seeds: classifiers trained on each set.
        training: how each classifier was trained.
    """

    real: SetEvaluation
    synthetic: tuple[SetEvaluation, ...]
    classifier: ImageClassifier
    train_count: int
    seeds: int
    training: ClassifierTraining


def evaluate_fairness(
    real_train: LabelledImages,
    real_test: LabelledImages,
    synthetic: Sequence[LabelledImages],
    *,
    values: int,
    seeds: int = 3,
    seed: int = 0,
    train_count: int | None = None,
    training: ClassifierTraining = DEFAULT_TRAINING,
    replicates: int = 1000,
    permutations: int = PERMUTATIONS,
    progress: Callable[[str, int, int], None] | None = None,
) -> FairnessEvaluation:
    """Evaluates how well classifiers predict the labels of synthetic sets, and how far apart the groups' images are.

    Each synthetic set is split into two halves. Classifiers trained on the first are tested on real images
    (synthetic->real) and on the second half (synthetic->synthetic, Definition 1 of arXiv 2401.03140, which mislabelled images
    cannot evade). Classifiers trained on real images are tested on the whole set (real->synthetic) and on held-out real images
    (real->real). All classifiers are trained on the same number of images for the same number of steps.

    Arguments:
        real_train, real_test: disjoint sets of real images.
        synthetic: the sets to evaluate.
        values: K, the number of values of the attribute.
        seeds: classifiers trained on each set, at least 1.
        seed: of the halves, the subsets, the bootstrap and the permutations; classifier i has seed `seed + i`.
        train_count: training images of each classifier, at least K; None takes as many as the smallest training set has.
        training: how each classifier is trained.
        replicates: of the bootstrap, at least 1.
        permutations: of the energy tests, at least 1.
        progress: called with a description, the units done and the total number of units.

    Raises:
        InputError: sets that differ in image size, labels out of range, fewer than four images of a value in a set, a
            `train_count` larger than a training set.
    """
    if seeds < 1:
        raise InputError(f"`seeds` must be at least 1, got {seeds}")
    for images in (real_train, real_test, *synthetic):
        _check(images, real_train, values)
    halves = [images.half_indices(values=values, seed=seed) for images in synthetic]
    train_sets = _training_sets(real_train, synthetic, halves, values=values, seed=seed, count=train_count)
    advance = _Progress(progress, (len(synthetic) + 1) * (seeds + 1))

    def train(images: LabelledImages, name: str) -> Iterator[ImageClassifier]:
        for i in range(seeds):
            advance(f"{name}: classifier {i + 1} of {seeds}")
            yield train_image_classifier(images.images, images.labels, values=values, seed=seed + i, training=training)

    def evaluate(images: LabelledImages, name: str, predictions: Mapping[str, Predictions]) -> SetEvaluation:
        advance(f"{name}: energy distance")
        energy = _energy(images, real_classifiers[0], values, permutations, seed)
        return _summarised(images, name, predictions, energy, values=values, replicates=replicates, seed=seed)

    real_classifiers = list(train(train_sets[0], "Real"))
    real = evaluate(real_test, "Real", {"real->real": _predict(real_classifiers, real_test)})
    evaluated = []
    for images, (_, held_out), train_set in zip(synthetic, halves, train_sets[1:], strict=True):
        classifiers = list(train(train_set, images.name))
        predictions = {
            "synthetic->real": _predict(classifiers, real_test),
            "real->synthetic": _predict(real_classifiers, images),
            "synthetic->synthetic": _predict(classifiers, images, held_out),
        }
        evaluated.append(evaluate(images, images.name, predictions))
    advance("done")
    return FairnessEvaluation(real, tuple(evaluated), real_classifiers[0], len(train_sets[0].labels), seeds, training)


class _Progress:
    """Reports one unit of work more at each call."""

    def __init__(self, report: Callable[[str, int, int], None] | None, total: int):
        self._report, self._total, self._done = report, total, 0

    def __call__(self, description: str) -> None:
        if self._report:
            self._report(description, self._done, self._total)
        self._done += 1


def _check(images: LabelledImages, reference: LabelledImages, values: int) -> None:
    if len(images.images) != len(images.labels):
        raise InputError(f"{images.name} has {len(images.images)} images but {len(images.labels)} labels")
    if images.images.shape[1:] != reference.images.shape[1:]:
        sizes = ["x".join(map(str, a.images.shape[1:])) for a in (images, reference)]
        raise InputError(
            f"images must have one size and number of channels: {images.name} has {sizes[0]}, {reference.name} has {sizes[1]}"
        )
    check_labels(images.labels, values=values)
    few = np.flatnonzero(np.bincount(images.labels, minlength=values) < MIN_IMAGES)
    if len(few):
        got = ", ".join(map(str, few))
        raise InputError(f"{images.name} must have at least {MIN_IMAGES} images of every label, got fewer of {got}")


def _training_sets(
    real: LabelledImages,
    synthetic: Sequence[LabelledImages],
    halves: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    values: int,
    seed: int,
    count: int | None,
) -> list[LabelledImages]:
    """Training images of the real set and of the first half of each synthetic one, `count` of each set."""
    available = [
        real.take(np.random.default_rng(seed).permutation(len(real.labels))),
        *(images.take(first) for images, (first, _) in zip(synthetic, halves, strict=True)),
    ]
    smallest = min(available, key=lambda images: len(images.labels))
    count = len(smallest.labels) if count is None else count
    if not values <= count <= len(smallest.labels):
        raise InputError(
            f"`train_count` must be within {values} and {len(smallest.labels)}, the training images of {smallest.name}, "
            f"got {count}"
        )
    return [_first(images, count, values) for images in available]


def _first(images: LabelledImages, count: int, values: int) -> LabelledImages:
    """The first `count` images, but at least one of every value."""
    first_of_value = [int(np.flatnonzero(images.labels == value)[0]) for value in range(values)]
    order = np.concatenate([first_of_value, np.delete(np.arange(len(images.labels)), first_of_value)])
    return images.take(order[:count])


def _predict(
    classifiers: Sequence[ImageClassifier], images: LabelledImages, indices: Integer[np.ndarray, " taken"] | None = None
) -> Predictions:
    """The classifiers' predictions on some images of a set, by default all."""
    indices = np.arange(len(images.labels)) if indices is None else indices
    chosen = images.take(indices)
    return Predictions(np.stack([classifier.logits(chosen.images) for classifier in classifiers]), chosen.labels, indices)


def _summarised(
    images: LabelledImages,
    name: str,
    predictions: Mapping[str, Predictions],
    energy: Mapping[str, Mapping[tuple[int, int], EnergyTest]],
    *,
    values: int,
    replicates: int,
    seed: int,
) -> SetEvaluation:
    """Error rates with intervals, and tests of independence, of the predictions by direction."""
    summaries, pairs, tests = {}, {}, {}
    for direction, each in predictions.items():
        summaries[direction] = summarise(each.predicted, each.labels, values=values, replicates=replicates, seed=seed)
        if values > 2:
            pairs[direction] = summarise_pairs(each.scores, each.labels, replicates=replicates, seed=seed)
        if direction in ("real->synthetic", "synthetic->synthetic"):
            tests[direction] = chance_test(each.predicted, each.labels, values=values, seed=seed)
    count = np.bincount(images.labels, minlength=values)
    return SetEvaluation(name, count, summaries, pairs, predictions, energy, tests)


def _energy(
    images: LabelledImages, classifier: ImageClassifier, values: int, permutations: int, seed: int
) -> dict[str, dict[tuple[int, int], EnergyTest]]:
    """Energy tests between the images of each pair of values, in pixels in [-1, 1] and in the classifier's features."""
    spaces = {
        "pixels": scaled(images.images.reshape(len(images.images), -1)),
        "features": classifier.features(images.images),
    }
    return {
        space: {
            (a, b): energy_test(x[images.labels == a], x[images.labels == b], permutations=permutations, seed=seed)
            for a, b in combinations(range(values), 2)
        }
        for space, x in spaces.items()
    }
