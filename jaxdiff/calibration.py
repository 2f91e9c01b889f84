"""Calibration of a classifier of noised images: how accurate its probabilities are at each noise level."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Float64, Int, UInt8

from jaxdiff.errors import InputError
from jaxdiff.process import Process, expand
from jaxdiff.spaces.pixels import scaled

BANDS = 8
"""Number of equal parts of the time axis, each with its own temperature and offsets."""
_PULL = 10.0  # weight, in images, of the prior that keeps temperature and offsets near 1 and 0 when there are few data
_BINS = 15  # of the calibration error, as in Guo et al. 2017


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Calibration:
    """A temperature and offsets for the output of a network, by time (Guo et al. 2017, section 4.2, at each noise level).

    Between the centres of the bands they are linear in t, so that the result is continuous.

    Attributes:
        slopes: one over the temperature of each of J bands, (J,), at least 0.
        offsets: added to the evidence for each value, (J, K).
    """

    slopes: Float[Array, " j"]
    offsets: Float[Array, "j k"]

    def __call__(self, evidence: Float[Array, "b k"], t: Float[Array, " b"]) -> Float[Array, "b k"]:
        """The evidence for each value, calibrated.

        Arguments:
            evidence: the output of the network.
            t: times in [0, 1].
        """
        weights = _weights(jnp, t, self.slopes.shape[0])
        return (weights @ self.slopes)[:, None] * evidence + weights @ self.offsets

    def config(self) -> dict[str, Any]:
        """The argument of `Calibration.from_config`, JSON-ready."""
        return {"slopes": np.asarray(self.slopes).tolist(), "offsets": np.asarray(self.offsets).tolist()}

    @classmethod
    def from_config(cls, config: Any) -> "Calibration":
        """The calibration described by `config`. Raises `InputError` for other shapes, and numbers that are not finite."""
        slopes, offsets = (np.asarray(config[name], np.float32) for name in ("slopes", "offsets"))
        if slopes.ndim != 1 or offsets.ndim != 2 or not len(slopes) == len(offsets) > 0:
            raise InputError(f"a calibration has `slopes` (J,) and `offsets` (J, K), got {slopes.shape} and {offsets.shape}")
        if not (np.isfinite(slopes).all() and np.isfinite(offsets).all()):
            raise InputError("`slopes` and `offsets` of a calibration must be finite")
        return cls(jnp.asarray(slopes), jnp.asarray(offsets))

    @classmethod
    def identity(cls, values: int) -> "Calibration":
        """The identity calibration, for K values."""
        return cls(jnp.ones(1), jnp.zeros((1, values)))


def _weights(numpy, t, bands: int):
    """The weight of each band at times t: hat functions at the centres of the bands, constant beyond the outermost, (B, J)."""
    place = numpy.clip(t * bands - 0.5, 0.0, bands - 1.0)
    return numpy.maximum(0.0, 1.0 - numpy.abs(place[:, None] - numpy.arange(bands)))


def log_posterior(
    log_shares: Float[Array, " k"], strength: Float[Array, " b"], evidence: Float[Array, "b k"]
) -> Float[Array, "b k"]:
    """log P(value | x_t): the log of the prior plus the evidence, scaled by the signal, normalised.

    The log likelihood ratio of two values is, to first order in alpha / sigma, a linear function of the image with
    coefficients proportional to alpha / sigma. So in units of `signal` the output of the network is of order 1 at every time,
    and without signal the odds are those of the prior.

    Arguments:
        log_shares: log of the prior, (K,).
        strength: of the signal at each image's time, (B,); see `signal`.
        evidence: for each value, (B, K).
    """
    scores = log_shares + expand(strength, evidence) * evidence
    return scores - jax.nn.logsumexp(scores, axis=-1, keepdims=True)


def signal(process: Process, t: Float[Array, " b"]) -> Float[Array, " b"]:
    """alpha / sqrt(alpha² + sigma²), in [0, 1]: the share of the signal in noised data of unit variance."""
    return process.alpha(t) / process.scale(t)


@dataclass(frozen=True)
class HeldOut:
    """The output of a network for held-out images.

    Attributes:
        evidence: for each value, (N, K).
        t: times in (0, 1], (N,).
        strength: of the signal, (N,); see `signal`.
        labels: the true labels, (N,).
    """

    evidence: Float64[np.ndarray, "n k"]
    t: Float64[np.ndarray, " n"]
    strength: Float64[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]

    def log_posterior(self, shares: Float64[np.ndarray, " k"], calibration: Calibration) -> Float64[np.ndarray, "n k"]:
        """log P(value | x_t) of each image, for a prior and a calibration."""
        slopes, offsets = (np.asarray(part, np.float64) for part in (calibration.slopes, calibration.offsets))
        weights = _weights(np, self.t, len(slopes))
        return _log_softmax(shares, self.strength, (weights @ slopes)[:, None] * self.evidence + weights @ offsets)


def _log_softmax(shares, strength, evidence):
    return scipy.special.log_softmax(np.log(shares) + strength[:, None] * evidence, axis=1)


def evaluate_held_out(
    network: Callable,
    process: Process,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    key: Array,
    *,
    batch: int = 64,
) -> HeldOut:
    """Evaluates a network on images, each noised to a random time in each band.

    Arguments:
        network: called as `network(x / scale(t), t)`; a pytree.
        process: the forward process.
        images, labels: data that the network was not trained on, at least one image.
        key: for times and noise; they are drawn per image, so `batch` changes only rounding.
        batch: batch size.
    """
    rows = []
    for start in range(0, len(images), batch):
        chosen = np.arange(start, start + batch)
        # the last batch is padded, so that one compiled program suffices
        rows.append(_evidence(network, process, images[chosen % len(images)], chosen, key))
    evidence, t = (np.concatenate([np.asarray(row[part]) for row in rows], axis=1)[:, : len(images)] for part in (0, 1))
    times = t.reshape(-1)
    return HeldOut(
        evidence=evidence.reshape(len(times), -1).astype(np.float64),
        t=times.astype(np.float64),
        strength=np.asarray(signal(process, jnp.asarray(times)), np.float64),
        labels=np.tile(labels, BANDS),
    )


@jax.jit
def _evidence(network, process, images, indices, key):
    """Evidence (BANDS, B, K) and times (BANDS, B)."""
    images = scaled(images)

    def at(band):
        keys = jax.vmap(lambda index: jax.random.split(jax.random.fold_in(jax.random.fold_in(key, band), index)))(indices)
        t = (band + 1 - jax.vmap(jax.random.uniform)(keys[:, 0])) / BANDS
        x = process.noised(images, jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys[:, 1]), t)
        return network(x / expand(process.scale(t), x), t), t

    return jax.lax.map(at, jnp.arange(BANDS))


def fit(held_out: HeldOut, shares: Float64[np.ndarray, " k"]) -> Calibration:
    """The calibration with minimum log loss on held-out images: a convex problem, solved by L-BFGS-B.

    Arguments:
        held_out: the output of the network, at times throughout (0, 1].
        shares: the prior.

    Raises:
        InputError: there are fewer than 100 images.
    """
    if len(held_out.labels) < 100:
        raise InputError(f"`held_out` must hold at least 100 images, got {len(held_out.labels)}")
    values, count = len(shares), len(held_out.labels)
    weights, wanted = _weights(np, held_out.t, BANDS), np.eye(values)[held_out.labels]

    def objective(parameters):
        slopes, offsets = parameters[:BANDS], parameters[BANDS:].reshape(BANDS, values)
        evidence = (weights @ slopes)[:, None] * held_out.evidence + weights @ offsets
        log_p = _log_softmax(shares, held_out.strength, evidence)
        residual = held_out.strength[:, None] * (np.exp(log_p) - wanted)  # the gradient in the evidence
        pulled = 0.5 * _PULL * (np.square(slopes - 1).sum() + np.square(offsets).sum())
        gradient = np.concatenate(
            [
                weights.T @ (residual * held_out.evidence).sum(1) + _PULL * (slopes - 1),
                (weights.T @ residual + _PULL * offsets).ravel(),
            ]
        )
        return (pulled - (wanted * log_p).sum()) / count, gradient / count

    start = np.concatenate([np.ones(BANDS), np.zeros(BANDS * values)])
    bounds = [(0.0, None)] * BANDS + [(None, None)] * (BANDS * values)
    best = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000}).x
    return Calibration(jnp.asarray(best[:BANDS], jnp.float32), jnp.asarray(best[BANDS:].reshape(BANDS, values), jnp.float32))


@dataclass(frozen=True)
class Level:
    """The quality of the probabilities in one band of noise.

    Attributes:
        low, high: the band's times: low < t <= high.
        snr: alpha² / sigma² at its centre.
        count: number of images.
        accuracy: share of images whose most likely value is correct.
        majority: share of the most frequent value, the accuracy of a constant prediction.
        log_loss: mean of -log P(true value), in nats.
        prior_log_loss: the log loss of the prior on the same images; its expectation is the entropy of the prior.
        calibration_error: |predicted probability - frequency|, averaged over bins of equal counts and over values
            (classwise; Kull et al. 2019, section 2).
        by_chance: the expected calibration error of a perfectly calibrated classifier with these probabilities and as many
            images.
    """

    low: float
    high: float
    snr: float
    count: int
    accuracy: float
    majority: float
    log_loss: float
    prior_log_loss: float
    calibration_error: float
    by_chance: float

    def config(self) -> dict[str, float]:
        """JSON-ready."""
        return asdict(self)


def measure(
    held_out: HeldOut, shares: Float64[np.ndarray, " k"], calibration: Calibration, process: Process
) -> tuple[Level, ...]:
    """The quality of the probabilities in each band of noise.

    Arguments:
        held_out: the output of the network for images that neither training nor `fit` used, with some in every band.
        shares: the prior.
        calibration: the calibration of the network.
        process: the forward process.
    """
    log_p = held_out.log_posterior(shares, calibration)
    levels = []
    for band in range(BANDS):
        low, high = band / BANDS, (band + 1) / BANDS
        chosen = (held_out.t > low) & (held_out.t <= high)
        band_log_p, labels = log_p[chosen], held_out.labels[chosen]
        probabilities = np.exp(band_log_p)
        generator = np.random.default_rng(band)
        drawn = [(generator.random((len(band_log_p), 1)) > probabilities.cumsum(1)[:, :-1]).sum(1) for _ in range(20)]
        levels.append(
            Level(
                low=low,
                high=high,
                snr=float(process.snr(np.float32((low + high) / 2))),
                count=len(labels),
                accuracy=float(np.mean(band_log_p.argmax(1) == labels)),
                majority=float(np.bincount(labels).max() / len(labels)),
                log_loss=float(-np.mean(band_log_p[np.arange(len(labels)), labels])),
                prior_log_loss=float(-np.mean(np.log(shares)[labels])),
                calibration_error=calibration_error(probabilities, labels),
                by_chance=float(np.mean([calibration_error(probabilities, each) for each in drawn])),
            )
        )
    return tuple(levels)


def calibration_error(probabilities: Float64[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> float:
    """The classwise calibration error: see `Level`."""
    return float(np.mean([_gaps(*reliability(column, labels == value)) for value, column in enumerate(probabilities.T)]))


def _gaps(predicted, frequency, count):
    return np.sum(count * np.abs(predicted - frequency)) / np.sum(count)


def reliability(
    probabilities: Float64[np.ndarray, " n"], happened: np.ndarray
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Predicted probability, frequency and number of images in bins of equal counts, sorted by probability.

    Arguments:
        probabilities: of an event, for each image.
        happened: whether the event occurred, (N,).
    """
    parts = np.array_split(np.argsort(probabilities, kind="stable"), min(_BINS, len(probabilities)))
    means = [(probabilities[part].mean(), happened[part].mean(), len(part)) for part in parts]
    predicted, frequency, count = (np.array(column) for column in zip(*means, strict=True))
    return predicted, frequency, count
