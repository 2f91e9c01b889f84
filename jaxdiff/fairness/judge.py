"""The judge: classifiers of an attribute, trained on one set and tested on another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Float32, Int, Integer, Shaped, UInt8

from jaxdiff.batches import in_batches
from jaxdiff.defaults import CLASSIFIER_BATCH, CLASSIFIER_STEPS
from jaxdiff.errors import InputError
from jaxdiff.fairness.chance import ChanceTest, chance_test
from jaxdiff.fairness.energy import EnergyTest, energy_test
from jaxdiff.fairness.groups import PairwiseSummary, summarise_pairs
from jaxdiff.fairness.metrics import Summary, check_labels, summarise
from jaxdiff.models import resnet
from jaxdiff.parallel import of_first

PREDICTION_BATCH = 128
"""Images classified at once; the last batch is filled up, so that sets of every size share one program."""


@dataclass(frozen=True)
class Training:
    """How every classifier is trained; the same for all sets, whatever their size.

    AdamW with a linear warm-up over the first tenth and a cosine decay; batches hold each value equally often, as the
    balanced error weighs the values equally; images are shifted by up to 1/16 of their height and, if `flip`, mirrored.

    Fields:
        steps: optimiser steps, so that `steps * batch` images are seen.
        batch: images a step.
        rate: the highest learning rate.
        decay: AdamW's weight decay.
        widths, blocks: of the ResNet.
        flip: mirror half of the images; wrong for digits or letters.
    """

    steps: int = CLASSIFIER_STEPS
    batch: int = CLASSIFIER_BATCH
    rate: float = 3e-3
    decay: float = 1e-2
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    flip: bool = True

    def __post_init__(self):
        if self.steps < 1 or self.batch < 1:
            raise InputError(f"`steps` and `batch` must be at least 1, got {self.steps} and {self.batch}")


@partial(jax.tree_util.register_dataclass, data_fields=["state"], meta_fields=["graph"])
@dataclass(frozen=True)
class Classifier:
    """A trained classifier of images: a pytree whose leaves are the weights.

    Its methods take images as uint8, or float in [-1, 1], of the size that it was trained on, on the host.
    """

    graph: Any
    state: Any

    def logits(self, images: Shaped[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n k"]:
        """The logits of images (N, H, W, C)."""
        return self._batched(images)[0]

    def features(self, images: Shaped[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """The penultimate layer of images (N, H, W, C)."""
        return self._batched(images)[1]

    def predict(self, images: Shaped[np.ndarray, "n h w c"]) -> Int[np.ndarray, " n"]:
        """The most likely label of each image (N, H, W, C)."""
        return self.logits(images).argmax(axis=1)

    def _batched(self, images):
        return in_batches(partial(_evaluate, self.graph, self.state), images, PREDICTION_BATCH)


@dataclass(frozen=True)
class LabelledImages:
    """A set to be judged.

    Fields:
        name: what the report calls it.
        images: uint8 (N, H, W, 3).
        labels: (N,) integers in 0..K-1, the attribute under judgement.
    """

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    labels: Integer[np.ndarray, " m"]

    def take(self, indices: Integer[np.ndarray, " taken"]) -> "LabelledImages":
        """The same set with some of its images."""
        return LabelledImages(self.name, self.images[indices], self.labels[indices])

    def halves(self, *, values: int, seed: int) -> tuple["LabelledImages", "LabelledImages"]:
        """Two disjoint halves, each with half of every value's images, shuffled."""
        first, second = self.half_indices(values=values, seed=seed)
        return self.take(first), self.take(second)

    def half_indices(self, *, values: int, seed: int) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
        """Where the images of `halves` lie."""
        order = np.random.default_rng(seed).permutation(len(self.labels))
        of_value = [order[self.labels[order] == value] for value in range(values)]
        halves = [np.concatenate([part[half::2] for part in of_value]) for half in (0, 1)]
        mix = np.random.default_rng(seed + 1)
        return mix.permutation(halves[0]), mix.permutation(halves[1])


@dataclass(frozen=True)
class Answers:
    """What the classifiers of a direction said of the images that they were tested on.

    Fields:
        scores: the logits of each classifier (seeds, N, K).
        labels: of the images (N,).
        indices: where the images lie (N,): among the real test images in synthetic->real and real->real, else in the set.
    """

    scores: Float32[np.ndarray, "seeds n k"]
    labels: Integer[np.ndarray, " n"]
    indices: Integer[np.ndarray, " n"]

    @property
    def predictions(self) -> Int[np.ndarray, "seeds n"]:
        """The most likely labels (seeds, N)."""
        return self.scores.argmax(axis=-1)


@dataclass(frozen=True)
class Verdict:
    """What was measured of one set.

    Fields:
        name: of the set; `Real` for the real one.
        count: images of each value (K,).
        directions: summaries by direction: `synthetic->real`, `real->synthetic` and `synthetic->synthetic` for a synthetic
            set, `real->real` for the real one.
        pairs: how well each pair of values is told apart, by direction; empty for two values, where `directions` tells it.
        answers: what the numbers were counted from, by direction.
        energy: by space (`pixels`, `features`), by pair of values: the energy test between the two groups.
        chance: by direction, tests of whether a synthetic set's labels and the predictions on its images are independent;
            of `real->synthetic` and `synthetic->synthetic`, and none for the real set.
    """

    name: str
    count: Integer[np.ndarray, " k"]
    directions: Mapping[str, Summary]
    pairs: Mapping[str, PairwiseSummary]
    answers: Mapping[str, Answers]
    energy: Mapping[str, Mapping[tuple[int, int], EnergyTest]]
    chance: Mapping[str, ChanceTest]


@dataclass(frozen=True)
class Judgement:
    """The answer of `judge`.

    Fields:
        real, synthetic: the verdicts.
        classifier: the first one trained on real images, whose features are compared.
        train_count, seeds, training: what all classifiers share.
    """

    real: Verdict
    synthetic: tuple[Verdict, ...]
    classifier: Classifier
    train_count: int
    seeds: int
    training: Training


def train_classifier(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    *,
    values: int,
    seed: int,
    training: Training = Training(),
) -> Classifier:
    """Trains a ResNet classifier of the labels; the same answer for the same arguments, in every process of a run.

    Arguments:
        images: uint8 (N, H, W, C), at least 16x16.
        labels: (N,) integers in 0..K-1, with at least one image of every value.
        values: K.
        seed: of the weights, the batches and the augmentation.
        training: steps, sizes and rates.

    Raises:
        InputError: images that are too small, or a value without images.
    """
    check_labels(labels, values=values)
    if min(images.shape[1:3]) < 16:
        raise InputError(f"`images` must be at least 16x16, got {images.shape[1]}x{images.shape[2]}")
    absent = np.flatnonzero(np.bincount(labels, minlength=values) == 0)
    if len(absent):
        raise InputError(f"`labels` must have every value in 0..{values - 1}, got none of {absent.tolist()}")
    graph, state = resnet.create(values, seed=seed, channels=images.shape[3], widths=training.widths, blocks=training.blocks)
    moments = _optimiser(0.0, 0.0).init(state)
    # A loop of small programs, since XLA's CPU backend runs the gradient of a convolution inside a scan 100 times slower.
    for done, (batch, batch_labels) in enumerate(_batches(images, labels, values, seed, training)):
        warm, cold = min(1.0, (done + 1) / (training.steps / 10)), 0.5 + 0.5 * np.cos(np.pi * done / training.steps)
        rate, decay = np.float32(training.rate * warm * cold), np.float32(training.decay)
        state, moments = _step(graph, state, moments, batch, batch_labels, rate, decay)
    return Classifier(graph, jax.tree.map(jnp.asarray, of_first(state)))


def judge(
    real_train: LabelledImages,
    real_test: LabelledImages,
    synthetic: Sequence[LabelledImages],
    *,
    values: int,
    seeds: int = 3,
    seed: int = 0,
    train_count: int | None = None,
    training: Training = Training(),
    replicates: int = 1000,
    permutations: int = 199,
    progress: Callable[[str, int, int], None] | None = None,
) -> Judgement:
    """Judges synthetic sets by classifiers of their labels, in three directions, and by the distance of their groups.

    Each synthetic set is cut in two halves. Classifiers trained on the first are tested on real images (synthetic->real)
    and on the second half (synthetic->synthetic, Definition 1 of arXiv 2401.03140 taken literally: no mislabelling fools
    it). Classifiers trained on real images are tested on the whole set (real->synthetic) and on held-out real images
    (real->real). All classifiers are trained on equally many images by equally many steps.

    Arguments:
        real_train, real_test: disjoint real images.
        synthetic: the sets to be judged.
        values: K, the number of values of the attribute.
        seeds: classifiers trained on each set.
        seed: of the halves, the draws, the bootstrap and the permutations; classifier i has seed `seed + i`.
        train_count: images each classifier is trained on; None takes as many as the smallest set has.
        training: how each classifier is trained.
        replicates: of the bootstrap.
        permutations: of the energy tests.
        progress: called with what is being done, the units done and their total.

    Raises:
        InputError: sets that differ in image size, labels out of range, fewer than four images of a value in a set, a
            `train_count` that a set cannot give.
    """
    if seeds < 1:
        raise InputError(f"`seeds` must be at least 1, got {seeds}")
    for images in (real_train, real_test, *synthetic):
        _check(images, real_train, values)
    halves = [images.half_indices(values=values, seed=seed) for images in synthetic]
    trained_on = [
        real_train.take(np.random.default_rng(seed).permutation(len(real_train.labels))),
        *(images.take(first) for images, (first, _) in zip(synthetic, halves, strict=True)),
    ]
    smallest = min(trained_on, key=lambda images: len(images.labels))
    count = len(smallest.labels) if train_count is None else train_count
    if not values <= count <= len(smallest.labels):
        raise InputError(
            f"`train_count` must be within {values} and {len(smallest.labels)}, "
            f"the training images that {smallest.name} can give, got {count}"
        )
    trained_on = [_first(images, count, values) for images in trained_on]
    total = (len(synthetic) + 1) * (seeds + 1)
    done = 0

    def advance(description):
        nonlocal done
        if progress:
            progress(description, done, total)
        done += 1

    def classifiers(images, name):
        for i in range(seeds):
            advance(f"{name}: classifier {i + 1} of {seeds}")
            yield train_classifier(images.images, images.labels, values=values, seed=seed + i, training=training)

    def verdict(images, name, directions):
        advance(f"{name}: energy distance")
        resampling = {"replicates": replicates, "seed": seed}
        summaries = {
            direction: summarise(answers.predictions, answers.labels, values=values, **resampling)
            for direction, answers in directions.items()
        }
        pairs = {
            direction: summarise_pairs(answers.scores, answers.labels, **resampling)
            for direction, answers in directions.items()
            if values > 2
        }
        energy = _energy(images, by_real[0], values, permutations, seed)
        tests = {
            direction: chance_test(directions[direction].predictions, directions[direction].labels, values=values, seed=seed)
            for direction in ("real->synthetic", "synthetic->synthetic")
            if direction in directions
        }
        count = np.bincount(images.labels, minlength=values)
        return Verdict(name, count, summaries, pairs, directions, energy, tests)

    by_real = list(classifiers(trained_on[0], "Real"))
    real = verdict(real_test, "Real", {"real->real": _ask(by_real, real_test)})
    verdicts = []
    for images, (_, held_out), train in zip(synthetic, halves, trained_on[1:], strict=True):
        by_synthetic = list(classifiers(train, images.name))
        directions = {
            "synthetic->real": _ask(by_synthetic, real_test),
            "real->synthetic": _ask(by_real, images),
            "synthetic->synthetic": _ask(by_synthetic, images, held_out),
        }
        verdicts.append(verdict(images, images.name, directions))
    if progress:
        progress("done", total, total)
    return Judgement(real, tuple(verdicts), by_real[0], count, seeds, training)


def _check(images: LabelledImages, reference: LabelledImages, values: int) -> None:
    if len(images.images) != len(images.labels):
        raise InputError(f"{images.name} has {len(images.images)} images but {len(images.labels)} labels")
    if images.images.shape[1:] != reference.images.shape[1:]:
        sizes = ["x".join(map(str, a.images.shape[1:3])) for a in (images, reference)]
        raise InputError(f"images must have one size: {images.name} has {sizes[0]}, {reference.name} has {sizes[1]}")
    check_labels(images.labels, values=values)
    few = np.flatnonzero(np.bincount(images.labels, minlength=values) < 4)
    if len(few):
        raise InputError(f"{images.name} must have at least 4 images of every value, got fewer of {few.tolist()}")


def _first(images: LabelledImages, count: int, values: int) -> LabelledImages:
    """The first `count` images, but at least one of every value."""
    first_of_value = [int(np.flatnonzero(images.labels == value)[0]) for value in range(values)]
    order = np.concatenate([first_of_value, np.delete(np.arange(len(images.labels)), first_of_value)])
    return images.take(order[:count])


def _ask(classifiers: Sequence[Classifier], images: LabelledImages, indices: np.ndarray | None = None) -> Answers:
    """The answers on some images of a set, by default all."""
    indices = np.arange(len(images.labels)) if indices is None else indices
    chosen = images.take(indices)
    return Answers(np.stack([classifier.logits(chosen.images) for classifier in classifiers]), chosen.labels, indices)


def _energy(images, classifier, values, permutations, seed):
    spaces = {
        "pixels": images.images.reshape(len(images.images), -1).astype(np.float32) / np.float32(127.5) - np.float32(1),
        "features": classifier.features(images.images),
    }
    return {
        space: {
            (a, b): energy_test(x[images.labels == a], x[images.labels == b], permutations=permutations, seed=seed)
            for a, b in combinations(range(values), 2)
        }
        for space, x in spaces.items()
    }


def _batches(images, labels, values, seed, training) -> Iterator[tuple[UInt8[np.ndarray, "b h w c"], Int[np.ndarray, " b"]]]:
    """Shuffled, balanced, shifted and mirrored batches, made on the host: a step's program knows no set and no set size."""
    generator = np.random.default_rng(seed)
    height, width = images.shape[1:3]
    shift = height // 16
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    each = -(-training.steps * training.batch // values)
    members = [np.flatnonzero(labels == value) for value in range(values)]
    rounds = [np.concatenate([generator.permutation(m) for _ in range(-(-each // len(m)))])[:each] for m in members]
    order = np.stack(rounds, axis=1).reshape(-1)[: training.steps * training.batch]
    for chosen in order.reshape(training.steps, training.batch):
        rows = generator.integers(0, 2 * shift + 1, (training.batch, 1)) + np.arange(height)
        columns = generator.integers(0, 2 * shift + 1, (training.batch, 1)) + np.arange(width)
        mirrored = (generator.random(training.batch) < 0.5) & training.flip
        columns[mirrored] = columns[mirrored, ::-1]
        yield padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]], labels[chosen]


def _optimiser(rate, decay) -> optax.GradientTransformation:
    return optax.adamw(rate, weight_decay=decay)


def _scaled(images: Shaped[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    return images.astype(jnp.float32) / 127.5 - 1 if images.dtype == jnp.uint8 else images.astype(jnp.float32)


@partial(jax.jit, static_argnums=0)
def _step(graph, state, moments, images, labels, rate, decay):
    def loss(weights):
        logits = nnx.merge(graph, weights)(_scaled(images))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    updates, moments = _optimiser(rate, decay).update(jax.grad(loss)(state), moments, state)
    return optax.apply_updates(state, updates), moments


@partial(jax.jit, static_argnums=0)
def _evaluate(graph, state, images):
    features = nnx.merge(graph, state).features(_scaled(images))
    return nnx.merge(graph, state).head(features), features
