"""Membership inference: whether a model's loss on an image reveals that it was trained on it.

The score of an image is its denoising loss at a fixed time, which is small for training images (Yeom et al. 2018; for diffusion
models Carlini et al. 2023, section 6, and Matsumoto et al. 2023). The result is the ROC curve of this score for training images
against others from the same distribution. It is a weak attack: a curve near the diagonal is no proof of privacy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Shaped

from jaxdiff.defaults import ATTACK_DRAWS, ATTACK_TIME, FALSE_POSITIVES
from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.process import Process
from jaxdiff.quality.estimate import Estimate
from jaxdiff.statistics import check_replicates, percentile_interval


@dataclass(frozen=True)
class MembershipAttack:
    """The result of `membership_attack`.

    Fields:
        auc: the area under the ROC curve: the probability that a member's loss is below another's, 1/2 by chance. With DeLong's
            error and interval (1988), which is a point where the losses do not overlap.
        true_positives: the true-positive rate at a false-positive rate of at most `false_positives`, which is its value by
            chance.
        true_positives_interval: its 95 % bootstrap interval, with members and others resampled.
        false_positives: the limit of the false-positive rate, in (0, 1).
        count: the numbers of members and others.
    """

    auc: Estimate
    true_positives: float
    true_positives_interval: tuple[float, float]
    false_positives: float
    count: tuple[int, int]


def attack_losses(
    denoise: Callable,
    process: Process,
    x0: Float[Array, "b ..."] | Float[np.ndarray, "b ..."],
    *,
    key: Array,
    t: float = ATTACK_TIME,
    draws: int = ATTACK_DRAWS,
    condition: Any = None,
) -> Float[Array, " b"]:
    """The mean over draws of the squared error of the noise, mean((eps - eps_theta(alpha x_0 + sigma eps, t))^2).

    Draw k uses the same noise for all images, that of `fold_in(key, k)`: its effect cancels in comparisons of images, also
    between batches.

    Arguments:
        denoise: a denoiser; eps_theta is the noise computed from its posterior mean.
        process: the forward process.
        x0: data (B, ...).
        key: a key.
        t: a time in (0, 1].
        draws: at least 1.
        condition: the condition, a pytree of arrays with leading axis B.

    Raises:
        InputError: a time outside (0, 1], or no draws.
    """
    if not 0 < t <= 1 or draws < 1:
        raise InputError(f"`t` must lie in (0, 1] and `draws` be at least 1, got {t} and {draws}")
    return _losses(as_denoiser(denoise), process, jnp.asarray(x0), key, t, condition, draws=draws)


@partial(jax.jit, static_argnames="draws")
def _losses(denoiser, process, x0, key, t, condition, *, draws):
    def add(total, index):
        eps = jax.random.normal(jax.random.fold_in(key, index), x0.shape[1:], x0.dtype)
        x = process.noised(x0, jnp.broadcast_to(eps, x0.shape), t)
        error = eps - process.from_x0("eps", denoiser(x, t, condition), x, t)
        return total + jnp.square(error).mean(axis=range(1, x0.ndim)), None

    return jax.lax.scan(add, jnp.zeros(len(x0), x0.dtype), jnp.arange(draws))[0] / draws


def membership_attack(
    members: Shaped[np.ndarray, " n"],
    others: Shaped[np.ndarray, " m"],
    *,
    false_positives: float = FALSE_POSITIVES,
    replicates: int = 1000,
    seed: int = 0,
) -> MembershipAttack:
    """The ROC curve of losses as a score for membership: its area, and the true-positive rate at a low false-positive rate.

    Arguments:
        members: losses of training images (N,), at least two.
        others: losses of images from the same distribution that were not trained on (M,); at least 1 / false_positives.
        false_positives: the limit of the false-positive rate, in (0, 1).
        replicates: bootstrap samples, at least 1.
        seed: of the bootstrap.

    Raises:
        InputError: too few losses, losses that are not finite, or arguments out of range.
    """
    if not 0 < false_positives < 1:
        raise InputError(f"`false_positives` must be within 0 and 1, got {false_positives}")
    check_replicates(replicates, 0.95)
    least = max(2, int(np.ceil(1 / false_positives - 1e-9)))
    if len(members) < 2 or len(others) < least:
        raise InputError(
            f"`members` must be at least 2 and `others` at least {least}, for a false-positive rate of {false_positives:.3g}; "
            f"got {len(members)} and {len(others)}"
        )
    x, y = (np.asarray(each, np.float64) for each in (members, others))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("`members` and `others` must be finite losses, got NaN or infinity")
    generator = np.random.default_rng(seed)
    resampled = ((generator.choice(x, len(x)), generator.choice(y, len(y))) for _ in range(replicates))
    rates = [_true_positive_rate(*both, false_positives) for both in resampled]
    low, high = percentile_interval(np.array(rates), 0.95).tolist()
    rate = _true_positive_rate(x, y, false_positives)
    return MembershipAttack(_auc(x, y), rate, (low, high), false_positives, (len(x), len(y)))


def _auc(members: Float64[np.ndarray, " n"], others: Float64[np.ndarray, " m"]) -> Estimate:
    """P(member < other) + P(member = other) / 2 (Mann and Whitney), with the error of DeLong et al. (1988, equation 5)."""
    beats = 1 - _rank(members, others)  # the share of others above each member
    beaten = _rank(others, members)
    value = float(beats.mean())
    error = np.sqrt(beats.var(ddof=1) / len(members) + beaten.var(ddof=1) / len(others))
    return Estimate.normal(value, float(error), 0.0, 1.0)


def _rank(points: Float64[np.ndarray, " n"], among: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " n"]:
    """The share of `among` below each point, ties counted half."""
    ordered = np.sort(among)
    return (np.searchsorted(ordered, points, "left") + np.searchsorted(ordered, points, "right")) / (2 * len(among))


def _true_positive_rate(members: Float64[np.ndarray, " n"], others: Float64[np.ndarray, " m"], false_positives: float) -> float:
    """The share of members below the largest threshold that at most this share of the others is below."""
    allowed = int(np.floor(false_positives * len(others) + 1e-9))
    return float((members < np.partition(others, allowed)[allowed]).mean())
