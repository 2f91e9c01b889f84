"""Context-FID: the Fréchet distance between encodings of windows by an encoder that learnt from the real ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Float32, Int

from jaxdiff.batches import in_batches
from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, checksum, key_of, once, run_all
from jaxdiff.models.network import Network
from jaxdiff.quality.moments import Moments, frechet_distance
from jaxdiff.quality.series.repeats import REPEATS, Repeats, check_repeats
from jaxdiff.quality.series.ts2vec import DROPOUT, contrastive_loss, encoded, ts2vec
from jaxdiff.quality.series.windows import checked_windows

BATCH = 8
RATE = 1e-3
DECAY = 1e-2
FEW_VALUES, FEW_ITERATIONS, MANY_ITERATIONS = 100_000, 200, 600
"""Steps of training for at most so many values, N L F, and for more."""
ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class ContextEncoder:
    """A trained encoder of windows; `train_encoders` makes them.

    Fields:
        network: `TS2Vec`.
        features: F of the windows that it takes.
        seed, repeat: of its weights, batches, crops and masks.
        iterations: steps of its training.
        checksum: the first 16 digits of the SHA-256 of its weights, which tells whether two encoders are the same.
    """

    network: Network
    features: int
    seed: int
    repeat: int
    iterations: int
    checksum: str

    def encode(self, windows: Float[np.ndarray, "n l f"]) -> Float32[np.ndarray, "n 320"]:
        """The encodings of windows: the maximum over time of the representations of all steps.

        Raises:
            InputError: no windows, or other features.
        """
        if not len(windows) or windows.shape[2] != self.features:
            raise InputError(f"`windows` must be at least one, of {self.features} features, got shape {windows.shape}")
        return in_batches(partial(_encode, self.network), windows.astype(np.float32), ENCODED_AT_ONCE)


@dataclass(frozen=True)
class ContextFid:
    """The result of `context_fid`.

    Fields:
        score: the squared Fréchet distance, a repeat for each encoder.
        checksums: of the encoders.
    """

    score: Repeats
    checksums: tuple[str, ...]


def train_encoders(
    windows: Float[np.ndarray, "n l f"],
    *,
    iterations: int | None = None,
    batch: int = BATCH,
    repeats: int = REPEATS,
    seed: int = 0,
    finished: Finished | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[ContextEncoder, ...]:
    """Trains TS2Vec encoders on windows of real training data, one for each repeat; deterministic given the seed.

    As Yue et al. 2022 (arXiv 2106.10466) and the code of Diffusion-TS: AdamW at rate 1e-3 with weight decay 0.01, batches of 8
    windows from shuffled passes, 200 steps for at most 100,000 values and 600 for more; the encoder has the mean of the weights
    over all steps, the first included. Each step encodes two crops that overlap, of a random length, each with half of its
    steps masked, and compares them where they overlap by `contrastive_loss`.

    Arguments:
        windows: (N, L, F) in [0, 1], at least two, L at least 2: the data that the generator was trained on.
        iterations: steps; None takes the published number.
        batch: windows in a step, at least 1.
        repeats: encoders, at least 1.
        seed: of weights, batches, crops and masks.
        finished: where trained encoders are kept, each under a key of the windows and all other arguments.
        progress: called with a description, the encoders done and their number.

    Raises:
        InputError: numbers below 1; too few windows or steps; NaN or infinity.
    """
    check_repeats(repeats)
    (real, _) = checked_windows(windows, windows, least=2, length=2)
    iterations = published_iterations(windows) if iterations is None else iterations
    if min(iterations, batch) < 1:
        raise InputError(f"`iterations` and `batch` must be at least 1, got {iterations} and {batch}")
    real = np.asarray(real, np.float32)
    given = checksum((real, iterations, min(batch, len(real)), seed))

    def train(key: str, repeat: int) -> ContextEncoder:
        structure = ts2vec(real.shape[2], np.random.default_rng(0))
        leaves, tree = jax.tree.flatten(structure.weights)

        def compute() -> dict[str, np.ndarray]:
            weights = _trained(real, iterations=iterations, batch=min(batch, len(real)), seed=seed, repeat=repeat).weights
            return {str(place): np.asarray(leaf) for place, leaf in enumerate(jax.tree.leaves(weights))}

        found = once(finished, key, compute)
        weights = jax.tree.unflatten(tree, [jnp.asarray(found[str(place)]) for place in range(len(leaves))])
        network = Network(weights, structure.structure)
        return ContextEncoder(network, real.shape[2], seed, repeat, iterations, checksum(weights))

    keys = [key_of("encoder", given, repeat) for repeat in range(repeats)]
    parts = [(f"encoder {repeat + 1}", key, partial(train, key, repeat)) for repeat, key in enumerate(keys)]
    return tuple(run_all(finished, parts, progress))


def published_iterations(windows: Float[np.ndarray, "n l f"]) -> int:
    """The published number of steps of training on these windows."""
    return FEW_ITERATIONS if windows.size <= FEW_VALUES else MANY_ITERATIONS


def _trained(real: Float32[np.ndarray, "n l f"], *, iterations: int, batch: int, seed: int, repeat: int) -> Network:
    """An encoder after training."""
    generator = np.random.default_rng([seed, repeat])
    key = jax.random.fold_in(jax.random.key(seed), repeat)
    taken = _passes(generator, len(real), iterations=iterations, batch=batch)
    crops = _crops(generator, real.shape[1], taken.shape)
    return _train(ts2vec(real.shape[2], generator), key, jnp.asarray(real), taken, crops)


def context_fid(
    encoders: Sequence[ContextEncoder], real: Float[np.ndarray, "n l f"], synthetic: Float[np.ndarray, "m k g"]
) -> ContextFid:
    """The squared Fréchet distance between the encodings of two sets, by each encoder (Jeha et al. 2022, PSA-GAN).

    Distances by other encoders, of other data or seeds, are not comparable. They are biased upwards for few windows: compare
    them at equal numbers, and beside `with_floor`.

    Arguments:
        encoders: from `train_encoders` on the real training windows; the same for all sets that are compared.
        real, synthetic: windows (N, L, F) and (M, L, F) in [0, 1], at least two of each.

    Raises:
        InputError: no encoders; other features; else as `checked_windows`.
    """
    if not encoders:
        raise InputError("`encoders` must be at least one, got none")
    real, synthetic = checked_windows(real, synthetic, least=2)
    scores = [
        frechet_distance(*(Moments.from_features(encoder.encode(each)) for each in (real, synthetic))) for encoder in encoders
    ]
    return ContextFid(Repeats.of(scores), tuple(encoder.checksum for encoder in encoders))


class Crops(NamedTuple):
    """Of each step the first view [outer_left, right), the second [left, outer_right), and the shift of each window."""

    outer_left: Int[np.ndarray, "*steps"]
    left: Int[np.ndarray, "*steps"]
    right: Int[np.ndarray, "*steps"]
    outer_right: Int[np.ndarray, "*steps"]
    shift: Int[np.ndarray, "*steps b"]


def _crops(generator: np.random.Generator, length: int, shape: tuple[int, int]) -> Crops:
    steps, batch = shape
    overlap = generator.integers(2, length, size=steps, endpoint=True)
    left = generator.integers(0, length - overlap, endpoint=True)
    right = left + overlap
    outer_left = generator.integers(0, left, endpoint=True)
    outer_right = generator.integers(right, length, endpoint=True)
    shift = generator.integers(-outer_left[:, None], (length - outer_right)[:, None], size=(steps, batch), endpoint=True)
    return Crops(*(each.astype(np.int32) for each in (outer_left, left, right, outer_right, shift)))


def _passes(generator: np.random.Generator, count: int, *, iterations: int, batch: int) -> Int[np.ndarray, "steps batch"]:
    """Batches of passes through all windows in a random order, each without the rest that fills no batch."""
    each = count // batch
    passes = [generator.permutation(count)[: each * batch].reshape(each, batch) for _ in range(-(-iterations // each))]
    return np.concatenate(passes)[:iterations].astype(np.int32)


@jax.jit
def _train(network, key, windows, taken, crops):
    optimiser = optax.adamw(RATE, weight_decay=DECAY)

    def loss(weights, x, crop, key):
        return crop_loss(Network(weights, network.structure), x, crop, key)

    def step(state, now):
        weights, moments, mean = state
        number, rows, crop = now
        slope = jax.grad(loss)(weights, windows[rows], crop, jax.random.fold_in(key, number))
        change, moments = optimiser.update(slope, moments, weights)
        weights = optax.apply_updates(weights, change)
        mean = jax.tree.map(lambda old, new: old + (new - old) / (number + 2), mean, weights)
        return (weights, moments, mean), None

    start = (network.weights, optimiser.init(network.weights), network.weights)
    (_, _, mean), _ = jax.lax.scan(step, start, (jnp.arange(len(taken)), taken, crops))
    return Network(mean, network.structure)


def crop_loss(network: Network, x: Float[jax.Array, "b l f"], crop: Crops, key: jax.Array) -> Float[jax.Array, ""]:
    """The loss of one step: of both views of a batch, each with half of its steps masked and a tenth of its outputs dropped."""
    batch, length = x.shape[:2]
    place = jnp.arange(length)
    x = jnp.take_along_axis(x, jnp.clip(place + crop.shift[:, None], 0, length - 1)[..., None], axis=1)
    first = (place >= crop.outer_left) & (place < crop.right)
    second = (place >= crop.left) & (place < crop.outer_right)
    inside = jnp.repeat(jnp.stack([first, second]), batch, axis=0)
    masked, dropped = jax.random.split(key)
    seen = jax.random.bernoulli(masked, 0.5, inside.shape)
    z = network(jnp.concatenate([x, x]), inside, seen)
    z = jnp.where(jax.random.bernoulli(dropped, 1 - DROPOUT, z.shape), z / (1 - DROPOUT), 0)
    z = jnp.roll(z, -crop.left, axis=1)  # the overlap comes first
    return contrastive_loss(z[:batch], z[batch:], crop.right - crop.left)


@jax.jit
def _encode(network, windows):
    return encoded(network, windows)
