"""Edits of weights in closed form that erase concepts from a text-to-image network: UCE, RECE and SPEED.

All three change the matrices W of the keys and values of cross attention, W -> W + D. A text enters the network through these
alone, as columns c (the hidden states of its tokens), whose outputs are W c. An edit takes the columns of what is erased, each
with the column c* whose outputs it is to have, and columns whose outputs are to stay:

    (W + D) c = W c*    for each erased column,    D k = 0    for each preserved one.

In general no D does so exactly. With the erased and preserved columns as the columns of X, scaled by the square roots of their
weights, the wanted changes Y (0 for preserved columns), and eigenvalues s_i and eigenvectors u_i of X' X, UCE leaves

    Y - D X = sum_i Y u_i u_i' l / (s_i + l)

with its regulariser l. So the error of independent columns vanishes as l -> 0, and what remains is the part of Y along linear
dependencies among the columns (s_i = 0) which their wanted outputs do not obey; near-dependencies (s_i < l) count as such, and
with l far below them D grows as 1 / sqrt(s_i), and other texts move with it. The factor X' X + l I is the same for all
matrices: one Cholesky factor serves them all. Everything is computed on the host in float64.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float

from jaxdiff.errors import InputError
from jaxdiff.weight_file import named

EDITED = ("attn2/to_k/kernel", "attn2/to_v/kernel")
"""The ends of the paths of the matrices that are edited."""
Rows = Float[np.ndarray, "_ _"]
"""Columns c of texts, one in each row."""


def text_kernels(weights: Any) -> dict[str, Float[np.ndarray, "d o"]]:
    """The matrices of the keys and values of cross attention by path, float64 on the host: the transposes of W.

    Arguments:
        weights: the weights of a network with cross attention to texts.

    Raises:
        InputError: there are none, or not all take the same channels.
    """
    found = {path: np.asarray(leaf, np.float64) for path, leaf in named(weights).items() if path.endswith(EDITED)}
    if not found:
        raise InputError("`weights` must be those of a network with cross attention to texts, such as a ConditionUNet")
    if len(widths := {len(kernel) for kernel in found.values()}) > 1:
        raise InputError(f"all matrices of `weights` for texts must take the same channels, got {sorted(widths)}")
    return found


def uce(
    weights: Any,
    concepts: Rows,
    targets: Rows,
    preserved: Rows | None = None,
    *,
    erase_scale: float = 1.0,
    preserve_scale: float = 1.0,
    regulariser: float = 0.1,
) -> Any:
    """Unified concept editing (Gandikota et al. 2024, equation 7): the least squares of all wishes and of the change.

        D = argmin  e sum_c |(W + D) c - W c*|^2  +  p sum_k |D k|^2  +  l |D|^2
          = e sum_c W (c* - c) c' (e sum_c c c' + p sum_k k k' + l I)^-1

    Without concepts, or where each is its own target, the weights are returned bit for bit.

    Arguments:
        weights: the weights of a network with cross attention to texts, a pytree.
        concepts: columns that are erased, one in each row (n, D).
        targets: for each the column whose outputs it gets.
        preserved: columns whose outputs are to stay (m, D); none by default.
        erase_scale: the weight e of erased columns, at least 0.
        preserve_scale: the weight p of preserved columns, at least 0.
        regulariser: the weight l of the change, above 0, on the scale of a column's squared norm.

    Raises:
        InputError: columns have another width than the matrices or are not as many as their targets, or a number is out of
            range.
    """
    concepts, targets, preserved = _checked(weights, concepts, targets, preserved)
    _require_scales(erase_scale=erase_scale, preserve_scale=preserve_scale)
    _require_positive(regulariser=regulariser)

    def change(kernel: Float[np.ndarray, "d o"]) -> Float[np.ndarray, "d o"]:
        wanted = erase_scale * concepts.T @ ((targets - concepts) @ kernel)
        return _ridge(erase_scale * concepts.T @ concepts + preserve_scale * preserved.T @ preserved, regulariser, wanted)

    return _changed(weights, concepts, change)


def rece(
    weights: Any,
    concepts: Rows,
    targets: Rows,
    preserved: Rows | None = None,
    *,
    epochs: int = 3,
    closeness: float = 0.1,
    erase_scale: float = 1.0,
    preserve_scale: float = 1.0,
    regulariser: float = 0.1,
) -> Any:
    """RECE (Gong et al. 2024): UCE, then again for what brings the concepts back.

    An epoch derives, for each erased column c, the one whose outputs under the edited matrices V are closest to those of c
    under W, over all matrices,

        c' = argmin  sum |V c' - W c|^2 + r |c'|^2  =  (sum V' V + r I)^-1 (sum V' W) c,

    and erases it from V by `uce`, to the same target. Columns that were erased before keep their outputs under V, as preserved
    ones: in the authors' code they are free, and an epoch undoes much of what was erased where the D channels are few.

    Arguments:
        weights, concepts, targets, preserved: see `uce`.
        epochs: at least 0, which is `uce`.
        closeness: the weight r of the norm of derived columns, above 0.
        erase_scale, preserve_scale, regulariser: see `uce`.

    Raises:
        InputError: see `uce`, or a number is out of range.
    """
    _require_positive(closeness=closeness)
    if epochs < 0:
        raise InputError(f"`epochs` must be at least 0, got {epochs}")
    scales = {"erase_scale": erase_scale, "preserve_scale": preserve_scale, "regulariser": regulariser}
    concepts, targets, kept = _checked(weights, concepts, targets, preserved)
    edited, erased = uce(weights, concepts, targets, kept, **scales), concepts
    for _ in range(epochs if len(concepts) else 0):
        derived = restoring(weights, edited, concepts, closeness=closeness)
        edited = uce(edited, derived, targets, np.concatenate([kept, erased]), **scales)
        erased = np.concatenate([erased, derived])
    return edited


def restoring(weights: Any, edited: Any, concepts: Rows, *, closeness: float = 0.1) -> Rows:
    """The columns whose outputs after an edit are closest to those of the concepts before; see `rece`.

    Arguments:
        weights: the weights before the edit.
        edited: those after it.
        concepts: columns (n, D).
        closeness: see `rece`.
    """
    before, after = (np.concatenate(list(text_kernels(each).values()), 1) for each in (weights, edited))
    return _ridge(after @ after.T, closeness, after @ before.T @ np.asarray(concepts, np.float64).T).T


def speed(
    weights: Any,
    concepts: Rows,
    targets: Rows,
    preserved: Rows | None = None,
    invariant: Rows | None = None,
    *,
    threshold: float = 1e-4,
    regulariser: float = 1.0,
) -> Any:
    """SPEED (Li et al. 2026): the change lies in the null space of what is preserved, where UCE only weighs it.

        D = argmin  sum_c |(W + D) c - W c*|^2 + l |D|^2    with D P = D and D k = 0 for each invariant column k

    P projects onto the eigenvectors of the mean of k k' over preserved columns whose eigenvalues are below the threshold. The
    solution is computed in an orthonormal basis of the columns that satisfy both constraints. As the threshold goes to 0 it is
    the limit of `uce` for an infinite `preserve_scale`. The preserved columns are those given: of the paper's refinements of
    the set, the filter by influence and the random augmentation, which differ from matrix to matrix, are not applied.

    Arguments:
        weights, concepts, targets, preserved: see `uce`.
        invariant: columns whose outputs stay exactly (m, D), such as those of the empty prompt; none by default.
        threshold: above 0, as a share of the mean squared norm of preserved columns; a direction in which they have less mean
            square than this may change.
        regulariser: the weight l of the change, above 0.

    Raises:
        InputError: see `uce`; or nothing may change, since preserved columns span the whole space.
    """
    concepts, targets, preserved = _checked(weights, concepts, targets, preserved)
    _, _, invariant = _checked(weights, concepts, targets, invariant)
    _require_positive(threshold=threshold, regulariser=regulariser)
    basis = np.eye(concepts.shape[1])
    if len(preserved):
        sizes, directions = scipy.linalg.eigh(preserved.T @ preserved / len(preserved))
        basis = directions[:, sizes < threshold * sizes.sum()]
    if len(invariant) and basis.size:
        basis = basis @ scipy.linalg.null_space(invariant @ basis)
    if not basis.size and len(concepts):
        raise InputError(
            f"the {len(preserved) + len(invariant)} preserved columns span all {concepts.shape[1]} dimensions of a text, so "
            f"nothing may change: raise `threshold`, got {threshold}, or preserve fewer prompts"
        )

    def change(kernel: Float[np.ndarray, "d o"]) -> Float[np.ndarray, "d o"]:
        inside = concepts @ basis
        return basis @ _ridge(inside.T @ inside, regulariser, inside.T @ ((targets - concepts) @ kernel))

    return _changed(weights, concepts, change)


def _ridge(gram: Float[np.ndarray, "d d"], regulariser: float, wanted: Float[np.ndarray, "d o"]) -> Float[np.ndarray, "d o"]:
    """(gram + regulariser I)^-1 wanted, by the Cholesky factor, refined once against its rounding."""
    system = gram + regulariser * np.eye(len(gram))
    factor = scipy.linalg.cho_factor(system, lower=True)
    solved = scipy.linalg.cho_solve(factor, wanted)
    return solved + scipy.linalg.cho_solve(factor, wanted - system @ solved)


def _changed(weights: Any, concepts: Rows, change: Callable[[Float[np.ndarray, "d o"]], Float[np.ndarray, "d o"]]) -> Any:
    """The weights with a change of their matrices, which is computed for all of them side by side."""
    if not len(concepts):
        return weights
    kernels = text_kernels(weights)
    ends = np.cumsum([kernel.shape[1] for kernel in kernels.values()])[:-1]
    changes = np.split(change(np.concatenate(list(kernels.values()), 1)), ends, axis=1)
    moved = {path: kernel + own for (path, kernel), own in zip(kernels.items(), changes, strict=True)}
    leaves = [_like(leaf, moved[path]) if path in moved else leaf for path, leaf in named(weights).items()]
    return jax.tree.unflatten(jax.tree.structure(weights), leaves)


def _like(leaf: Any, values: np.ndarray) -> Any:
    """Values in the dtype and the place of an array."""
    values = values.astype(leaf.dtype)
    return jax.device_put(values, leaf.sharding) if isinstance(leaf, jax.Array) else values


def _checked(weights: Any, concepts: Rows, targets: Rows, preserved: Rows | None) -> tuple[Rows, Rows, Rows]:
    """The columns in float64, with none for None."""
    width = len(next(iter(text_kernels(weights).values())))
    given = {"concepts": concepts, "targets": targets, "preserved": np.empty((0, width)) if preserved is None else preserved}
    for name, rows in given.items():
        if np.ndim(rows) != 2 or np.shape(rows)[1] != width:
            raise InputError(f"`{name}` must have shape (n, {width}), like the channels of texts, got {np.shape(rows)}")
        if not np.isfinite(rows).all():
            raise InputError(f"`{name}` must be finite numbers")
    if len(concepts) != len(targets):
        raise InputError(f"`targets` must be one for each of {len(concepts)} concepts, got {len(targets)}")
    concepts, targets, kept = (np.asarray(rows, np.float64) for rows in given.values())
    return concepts, targets, kept


def _require_scales(**scales: float) -> None:
    for name, value in scales.items():
        if not 0 <= value < np.inf:
            raise InputError(f"`{name}` must be at least 0 and finite, got {value}")


def _require_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < np.inf:
            raise InputError(f"`{name}` must be above 0 and finite, got {value}")
