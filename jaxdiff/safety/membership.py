"""Membership inference: whether a model's loss on an image tells that it was trained on it.

The attack on one image: its denoising loss at a fixed time, small for images that the network has seen (Yeom et al. 2018; of
diffusion models Carlini et al. 2023, section 6, and Matsumoto et al. 2023). Training images are told from others, drawn alike,
as well as this attack's ROC curve says. It is a weak one: a curve near the diagonal proves no privacy.
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
from jaxdiff.fairness.intervals import check_replicates, percentile_interval
from jaxdiff.process import Process
from jaxdiff.quality.estimate import Estimate


@dataclass(frozen=True)
class MembershipAttack:
    """The answer of `membership_attack`.

    Fields:
        auc: the area under the ROC curve: how often a member's loss is the smaller one of a member's and another's, 1/2 by
            chance. DeLong's error (1988) and interval, which is a point where the losses do not overlap.
        found: the share of members that are found where the share of others taken for members is at most `false_positives`,
            which is also what chance finds.
        found_interval: its 95 % bootstrap interval, members and others resampled.
        false_positives: within 0 and 1.
        count: members and others.
    """

    auc: Estimate
    found: float
    found_interval: tuple[float, float]
    false_positives: float
    count: tuple[int, int]


def attack_losses(
    denoise: Callable,
    process: Process,
    x0: Float[Array, "b ..."] | Float[np.ndarray, "b ..."],
    *,
    key,
    t: float = ATTACK_TIME,
    draws: int = ATTACK_DRAWS,
    condition: Any = None,
) -> Float[Array, " b"]:
    """The mean over draws of the squared error of the noise, mean((eps - eps_theta(alpha x_0 + sigma eps, t))^2).

    Draw k has one noise for all images, that of `fold_in(key, k)`: what it alone does to the loss cancels where images are
    compared, and images in other batches meet the same.

    Arguments:
        denoise: a denoiser; eps_theta is the noise that its posterior mean implies.
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
    """How well a loss tells members from others.

    Arguments:
        members: losses of training images, at least two.
        others: losses of images drawn alike that were not trained on; at least 1 / false_positives.
        false_positives: the share of others that may be taken for members, in (0, 1).
        replicates: of the bootstrap, at least 1.
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
            f"`members` must be at least 2 and `others` at least {least}, for {false_positives:.3g} of them to be one; got "
            f"{len(members)} and {len(others)}"
        )
    x, y = (np.asarray(each, np.float64) for each in (members, others))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("`members` and `others` must be finite losses, got NaN or infinity")
    generator = np.random.default_rng(seed)
    drawn = [_found(*(generator.choice(each, len(each)) for each in (x, y)), false_positives) for _ in range(replicates)]
    low, high = percentile_interval(np.array(drawn), 0.95).tolist()
    return MembershipAttack(_auc(x, y), _found(x, y, false_positives), (low, high), false_positives, (len(x), len(y)))


def _auc(members: Float64[np.ndarray, " n"], others: Float64[np.ndarray, " m"]) -> Estimate:
    """P(member < other) + P(member = other) / 2 (Mann and Whitney), with the error of DeLong et al. (1988, equation 5)."""
    beats = 1 - _rank(members, others)  # of each member, the share of others that it is below
    beaten = _rank(others, members)
    value = float(beats.mean())
    error = np.sqrt(beats.var(ddof=1) / len(members) + beaten.var(ddof=1) / len(others))
    return Estimate.within(value, float(error), 0.0, 1.0)


def _rank(points: Float64[np.ndarray, " n"], among: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " n"]:
    """The share of `among` that is below each point, ties counted half."""
    ordered = np.sort(among)
    return (np.searchsorted(ordered, points, "left") + np.searchsorted(ordered, points, "right")) / (2 * len(among))


def _found(members: Float64[np.ndarray, " n"], others: Float64[np.ndarray, " m"], false_positives: float) -> float:
    """The share of members below the largest threshold that so few of the others are below."""
    allowed = int(np.floor(false_positives * len(others) + 1e-9))
    return float((members < np.partition(others, allowed)[allowed]).mean())
