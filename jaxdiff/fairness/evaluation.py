"""Fairness of labelled sets of images: error rates of classifiers trained on one set and tested on another, and distances."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations

import numpy as np
from jaxtyping import Float32, Float64, Int, Integer, UInt8

from jaxdiff.defaults import PERMUTATIONS
from jaxdiff.errors import InputError
from jaxdiff.fairness.chance import ChanceTest, chance_test
from jaxdiff.fairness.energy import EnergyTest, energy_test
from jaxdiff.fairness.groups import PairwiseSummary, summarise_pairs
from jaxdiff.fairness.metrics import Summary, summarise
from jaxdiff.finished import Finished, Part, checksum, key_of, once, run_all
from jaxdiff.image_classifier import DEFAULT_TRAINING, ClassifierTraining, ImageClassifier, classifier_key, train_once
from jaxdiff.spaces.pixels import scaled
from jaxdiff.statistics import check_labels

MIN_IMAGES = 4
"""Images of each value that a set needs: two in each half."""
SPACES = ("pixels", "features")
"""Where the energy distance is measured."""


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

    @cached_property
    def digest(self) -> str:
        """The checksum of the images and labels, computed once."""
        return checksum((self.images, self.labels))

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


@dataclass(frozen=True)
class _Test:
    """A test of the classifiers of one training set on some images of a set.

    Fields:
        place: of the training set, 0 for the real one.
        images: the set.
        indices: the positions of the images in it.
    """

    place: int
    images: LabelledImages
    indices: Integer[np.ndarray, " n"]

    def scores(self, classifiers: Sequence[ImageClassifier]) -> Float32[np.ndarray, "seeds n k"]:
        images = self.images.images[self.indices]
        return np.stack([classifier.logits(images) for classifier in classifiers])

    def predictions(self, scores: Float32[np.ndarray, "seeds n k"]) -> Predictions:
        return Predictions(scores, self.images.labels[self.indices], self.indices)


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
    finished: Finished | None = None,
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
        finished: where the trained classifiers, their predictions and the energy tests are kept and looked up; by default
            nowhere. With those of an interrupted call, the result is that of an undisturbed one.
        progress: called with a description, the units done and the total number of units; first with those that were finished.

    Raises:
        InputError: sets that differ in image size, labels out of range, fewer than four images of a value in a set, a
            `train_count` larger than a training set.
    """
    if seeds < 1:
        raise InputError(f"`seeds` must be at least 1, got {seeds}")
    for images in (real_train, real_test, *synthetic):
        _check(images, real_train, values)
    halves = [images.half_indices(values=values, seed=seed) for images in synthetic]
    sets = (real_train, *synthetic)
    trained_on = _training_indices(sets, [first for first, _ in halves], values=values, seed=seed, count=train_count)
    # the keys of the classifiers of each set
    keys = [
        [classifier_key(images.digest, indices, values=values, seed=seed + i, training=training) for i in range(seeds)]
        for images, indices in zip(sets, trained_on, strict=True)
    ]
    classifiers: list[list[ImageClassifier]] = [[] for _ in sets]

    def train(place: int, i: int) -> None:
        images = sets[place]
        classifier = train_once(
            finished, keys[place][i], images.images, images.labels, trained_on[place],
            values=values, seed=seed + i, training=training,
        )  # fmt: skip
        classifiers[place].append(classifier)

    def evaluate(key: str, images: LabelledImages, name: str, tests: Mapping[str, _Test]) -> SetEvaluation:
        def compute():
            scores = {direction: test.scores(classifiers[test.place]) for direction, test in tests.items()}
            return scores | _rows(_energy(images, classifiers[0][0], values, permutations, seed))

        found = once(finished, key, compute)
        predictions = {direction: test.predictions(found[direction]) for direction, test in tests.items()}
        energy = _from_rows(found, values, permutations)
        return _summarised(images, name, predictions, energy, values=values, replicates=replicates, seed=seed)

    of_real = _Test(0, real_test, np.arange(len(real_test.labels)))
    evaluated = [(real_test, "Real", {"real->real": of_real})]
    for place, (images, (_, held_out)) in enumerate(zip(synthetic, halves, strict=True), 1):
        tests = {
            "synthetic->real": replace(of_real, place=place),
            "real->synthetic": _Test(0, images, np.arange(len(images.labels))),
            "synthetic->synthetic": _Test(place, images, held_out),
        }
        evaluated.append((images, images.name, tests))
    parts: list[Part[SetEvaluation | None]] = []
    for place, (images, name, tests) in enumerate(evaluated):
        parts += [(f"{name}: classifier {i + 1} of {seeds}", keys[place][i], partial(train, place, i)) for i in range(seeds)]
        key = key_of("predictions", keys[0], keys[place], real_test.digest, images.digest, values, permutations, seed)
        parts.append((f"{name}: energy distance", key, partial(evaluate, key, images, name, tests)))
    real, *others = [each for each in run_all(finished, parts, progress) if each is not None]
    return FairnessEvaluation(real, tuple(others), classifiers[0][0], len(trained_on[0]), seeds, training)


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


def _training_indices(
    sets: Sequence[LabelledImages],
    halves: Sequence[Integer[np.ndarray, " _"]],
    *,
    values: int,
    seed: int,
    count: int | None,
) -> list[Int[np.ndarray, " count"]]:
    """The training images of the real set, which is the first, and of the first half of each synthetic one: `count` of each."""
    available = [np.random.default_rng(seed).permutation(len(sets[0].labels)), *halves]
    smallest = min(range(len(sets)), key=lambda place: len(available[place]))
    most = len(available[smallest])
    count = most if count is None else count
    if not values <= count <= most:
        raise InputError(
            f"`train_count` must be within {values} and {most}, the training images of {sets[smallest].name}, got {count}"
        )
    return [first_of_each(indices, images.labels, count, values) for indices, images in zip(available, sets, strict=True)]


def first_of_each(
    indices: Integer[np.ndarray, " n"], labels: Integer[np.ndarray, " m"], count: int, values: int
) -> Int[np.ndarray, " count"]:
    """The first `count` of the indices of images with these labels, but at least one of every label."""
    first_of_value = [int(np.flatnonzero(labels[indices] == value)[0]) for value in range(values)]
    order = np.concatenate([first_of_value, np.delete(np.arange(len(indices)), first_of_value)])
    return indices[order[:count]]


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
    vectors = scaled(images.images.reshape(len(images.images), -1)), classifier.features(images.images)
    return {
        space: {
            (a, b): energy_test(x[images.labels == a], x[images.labels == b], permutations=permutations, seed=seed)
            for a, b in combinations(range(values), 2)
        }
        for space, x in zip(SPACES, vectors, strict=True)
    }


def _rows(energy: Mapping[str, Mapping[tuple[int, int], EnergyTest]]) -> dict[str, Float64[np.ndarray, "pairs 5"]]:
    """The energy tests of each space as numbers, a row for each pair of values."""
    return {
        f"energy in {space}": np.array([[test.distance, test.relative, test.p_value, *test.count] for test in tests.values()])
        for space, tests in energy.items()
    }


def _from_rows(
    arrays: Mapping[str, np.ndarray], values: int, permutations: int
) -> dict[str, dict[tuple[int, int], EnergyTest]]:
    """The energy tests by space and pair, from `_rows`."""

    def test(distance, relative, p_value, *count):
        return EnergyTest(distance, relative, p_value, (int(count[0]), int(count[1])), permutations)

    pairs = list(combinations(range(values), 2))
    return {
        space: dict(zip(pairs, (test(*row) for row in arrays[f"energy in {space}"].tolist()), strict=True)) for space in SPACES
    }
