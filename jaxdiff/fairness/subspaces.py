"""The subspace of what goes with a label, estimated from a conditional model alone, without labels of other attributes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, PRNGKeyArray

from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.parallel import gather
from jaxdiff.process import Process

FAR, NEAR, OWN_SHARE, SHARE = (0.6, 0.8, 1.0), 0.3, 0.3, 0.9
"""Chosen on embedded faces."""


class AssociatedSubspace(NamedTuple):
    """See `associated_subspace`. Rows are orthonormal, also those of one part to those of the other.

    Attributes:
        rows: directions of what goes with the label, the strongest first; none where nothing does.
        own: directions of the label itself.
        shares: what each of `rows` explains of the squared norm of the directions at large noise, a share.
        own_share: what all of `own` explain of it.
    """

    rows: Float32[np.ndarray, "k ..."]
    own: Float32[np.ndarray, "m ..."]
    shares: Float64[np.ndarray, " k"]
    own_share: float


def associated_subspace(
    denoise: Callable,
    process: Process,
    images: Float[Array, "b ..."],
    conditions: Sequence[Any],
    *,
    key: PRNGKeyArray,
    far: Sequence[float] = FAR,
    near: float = NEAR,
    own_share: float = OWN_SHARE,
    share: float = SHARE,
) -> AssociatedSubspace:
    """The directions in which posterior means change with a label at large noise, less those at small noise.

    Images are noised to each time. At each, the directions are D_c(x_t) minus its mean over the values c. That of exact
    guidance, D_c - D_null, lies in their span, as D_null is the mean of the D_c with weights p(c given x_t). At a small noise
    (`near`) what an image shows beside the label is decided by x_t, so they show the label alone; at large noise (`far`) also
    what goes with it. `own` are the leading principal directions about the origin at `near`, the fewest that explain
    `own_share` of their squared norm. Those at `far`, scaled to the same squared norm at each time, lose what lies in `own`;
    `rows` are the fewest principal directions of the rest that together with `own` explain `share`: none, if `own` does.

    No label of another attribute is used. What is seen in the same pixels as the label, and what is still undecided at `near`,
    is in `own`, at least in part, and then not in `rows`.

    Arguments:
        denoise: a denoiser.
        process: the forward process.
        images: the data x_0, drawn without a label or real.
        conditions: the condition of each value, two or more, each with leading axis B.
        key: a key.
        far: the times of large noise, each above `near` and at most 1.
        near: the time of small noise, above 0.
        own_share: a share in (0, 1), see above.
        share: a share in (0, 1), see above.

    Raises:
        InputError: a number is out of range, there are fewer than two values, or the means do not change with the label.
    """
    if not far or not 0 < near < min(far) or max(far) > 1:
        raise InputError(f"`near` and `far` must satisfy 0 < near < each of far <= 1, got {near} and {tuple(far)}")
    for name, value in (("own_share", own_share), ("share", share)):
        if not 0 < value < 1:
            raise InputError(f"`{name}` must lie in (0, 1), got {value}")
    if len(conditions) < 2:
        raise InputError(f"`conditions` must hold those of two values or more, got {len(conditions)}")
    denoiser, values = as_denoiser(denoise), tuple(conditions)

    def directions(at: float, number: int) -> Float64[np.ndarray, "n d"]:
        found = _directions(denoiser, process, images, values, jax.random.fold_in(key, number), jnp.float32(at))
        found = np.asarray(gather(found), np.float64)
        if not found.any():
            raise InputError(f"the model's means do not change with the label at t = {at:g}: it does not see it")
        return found / np.linalg.norm(found)

    own, _ = _leading(directions(near, 0), own_share)
    changes = np.concatenate([directions(at, number) for number, at in enumerate(far, 1)]) / np.sqrt(len(far))
    rest = changes - changes @ own.T @ own
    by_own = 1 - np.square(rest).sum()
    rows, shares = _leading(rest, share - by_own)
    shaped = lambda rows: rows.reshape(-1, *images.shape[1:]).astype(np.float32)  # noqa: E731
    return AssociatedSubspace(shaped(rows), shaped(own), shares, float(by_own))


@jax.jit
def _directions(denoiser, process, images, conditions, key, at):
    times = jnp.broadcast_to(at, len(images))
    noised = process.noised(images, jax.random.normal(key, images.shape), times)
    means = jnp.stack([denoiser(noised, times, condition) for condition in conditions])
    return (means - means.mean(0)).reshape(means.shape[0] * means.shape[1], -1)


def _leading(
    directions: Float64[np.ndarray, "n d"], wanted: float
) -> tuple[Float64[np.ndarray, "k d"], Float64[np.ndarray, " k"]]:
    """The fewest principal directions about the origin that explain this much of the squared norm, and what each explains."""
    _, values, rows = np.linalg.svd(directions, full_matrices=False)
    energies = np.square(values)
    count = int(np.searchsorted(np.cumsum(energies), wanted)) + 1 if wanted > 0 else 0
    largest = np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1)
    return (np.sign(largest) * rows)[:count], energies[:count]
