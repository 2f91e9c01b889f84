"""Classifiers of clean images: a small ResNet, trained on labelled images, its predictions and its features."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
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
from jaxdiff.finished import Finished, key_of, once
from jaxdiff.models import resnet
from jaxdiff.parallel import broadcast_from_first
from jaxdiff.spaces.pixels import scaled
from jaxdiff.statistics import check_labels
from jaxdiff.weight_file import named

LEAST_SIDE = 16
"""The least height and width of images that are classified."""
PREDICTION_BATCH = 128
"""Images classified at once; the last batch is padded, so that one compiled program serves sets of every size."""


@dataclass(frozen=True)
class ClassifierTraining:
    """How a classifier is trained; the same for all sets, whatever their size.

    AdamW with a linear warm-up over the first tenth of the steps and a cosine decay. Batches are balanced over the values, as
    the balanced error rate weighs them equally. Images are shifted by up to 1/16 of their height and, with `flip`, mirrored.

    Fields:
        steps: optimiser steps, at least 1; `steps * batch` images are seen.
        batch: images a step, at least 1.
        rate: the peak learning rate.
        decay: AdamW's weight decay.
        widths, blocks: channels of the ResNet's stages, and residual blocks a stage.
        flip: mirror half of the images left to right; wrong for digits or letters.
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


DEFAULT_TRAINING = ClassifierTraining()


@partial(jax.tree_util.register_dataclass, data_fields=["state"], meta_fields=["graph"])
@dataclass(frozen=True)
class ImageClassifier:
    """A trained classifier of clean images: a pytree whose leaves are the weights. `train_image_classifier` makes one.

    Its methods take images on the host, uint8 or float in [-1, 1], of the size that it was trained on.

    Fields:
        graph: the structure of the network (Flax NNX).
        state: its weights.
    """

    graph: Any
    state: Any

    def logits(self, images: Shaped[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n k"]:
        """The logits (N, K) of images (N, H, W, C)."""
        return self._batched(images)[0]

    def features(self, images: Shaped[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """The penultimate layer (N, D) for images (N, H, W, C)."""
        return self._batched(images)[1]

    def predict(self, images: Shaped[np.ndarray, "n h w c"]) -> Int[np.ndarray, " n"]:
        """The most likely label (N,) of each image (N, H, W, C)."""
        return self.logits(images).argmax(axis=1)

    def _batched(self, images: Shaped[np.ndarray, "n h w c"]) -> tuple[np.ndarray, np.ndarray]:
        return in_batches(partial(_evaluate, self.graph, self.state), images, PREDICTION_BATCH)


def train_image_classifier(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    *,
    values: int,
    seed: int,
    training: ClassifierTraining = DEFAULT_TRAINING,
) -> ImageClassifier:
    """Trains a ResNet classifier of the labels; deterministic, and the same in every process of a run.

    Arguments:
        images: uint8 (N, H, W, C), at least 16x16.
        labels: (N,) integers in 0..K-1, with at least one image of every value.
        values: K.
        seed: of the weights, the batches and the augmentation.
        training: steps, sizes and rates.

    Raises:
        InputError: images that are too small, labels out of range, or a value without images.
    """
    check_labels(labels, values=values)
    if min(images.shape[1:3]) < LEAST_SIDE:
        raise InputError(f"`images` must be at least {LEAST_SIDE}x{LEAST_SIDE}, got {images.shape[1]}x{images.shape[2]}")
    absent = np.flatnonzero(np.bincount(labels, minlength=values) == 0)
    if len(absent):
        raise InputError(f"`labels` must have every value in 0..{values - 1}, got none of {absent.tolist()}")
    graph, state = _untrained(images, values, seed, training)
    moments = _optimiser(0.0, 0.0).init(state)
    # A loop of small programs, since XLA's CPU backend runs the gradient of a convolution inside a scan 100 times slower.
    for step, (batch, batch_labels) in enumerate(_batches(images, labels, values, seed, training)):
        warm_up, cosine = min(1.0, (step + 1) / (training.steps / 10)), 0.5 + 0.5 * np.cos(np.pi * step / training.steps)
        rate, decay = np.float32(training.rate * warm_up * cosine), np.float32(training.decay)
        state, moments = _step(graph, state, moments, batch, batch_labels, rate, decay)
    return ImageClassifier(graph, jax.tree.map(jnp.asarray, broadcast_from_first(state)))


def classifier_key(
    digest: str,
    indices: Integer[np.ndarray, " n"] | None = None,
    *,
    values: int,
    seed: int,
    training: ClassifierTraining = DEFAULT_TRAINING,
) -> str:
    """The key under which `train_once` keeps a classifier.

    Arguments:
        digest: the `jaxdiff.finished.checksum` of the images and labels of a set.
        indices: those of the set that it is trained on, in their order; None for all.
        values, seed, training: as in `train_image_classifier`.
    """
    return key_of("classifier", digest, indices, values, seed, asdict(training))


def train_once(
    finished: Finished | None,
    key: str,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    indices: Integer[np.ndarray, " m"] | None = None,
    *,
    values: int,
    seed: int,
    training: ClassifierTraining = DEFAULT_TRAINING,
) -> ImageClassifier:
    """The classifier that is finished under a key, or else that of `train_image_classifier`, whose weights are then kept.

    Arguments:
        finished: where the weights are kept; None keeps nothing.
        key: from `classifier_key` of the same arguments.
        images, labels: a set of images.
        indices: those of the set that it is trained on, in their order; None for all.
        values, seed, training: as in `train_image_classifier`.
    """
    graph, state = _untrained(images, values, seed, training)

    def compute():
        given = (images, labels) if indices is None else (images[indices], labels[indices])
        trained = train_image_classifier(*given, values=values, seed=seed, training=training)
        return {name: np.asarray(leaf) for name, leaf in named(trained.state).items()}

    weights = once(finished, key, compute)
    leaves = [jnp.asarray(weights[name]) for name in named(state)]
    return ImageClassifier(graph, jax.tree.unflatten(jax.tree.structure(state), leaves))


def _untrained(images: UInt8[np.ndarray, "n h w c"], values: int, seed: int, training: ClassifierTraining) -> tuple[Any, Any]:
    """The network for these images before its first step."""
    return resnet.create(values, seed=seed, channels=images.shape[3], widths=tuple(training.widths), blocks=training.blocks)


def _batches(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    values: int,
    seed: int,
    training: ClassifierTraining,
) -> Iterator[tuple[UInt8[np.ndarray, "b h w c"], Integer[np.ndarray, " b"]]]:
    """Shuffled, balanced and augmented batches, made on the host: the step's program does not depend on the set's size."""
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


def _optimiser(rate: float | Array, decay: float | Array) -> optax.GradientTransformation:
    return optax.adamw(rate, weight_decay=decay)


def _scaled(images: Shaped[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    return scaled(images) if images.dtype == jnp.uint8 else images.astype(jnp.float32)


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
