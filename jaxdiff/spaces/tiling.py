"""Decoding of large latents in overlapping tiles, which bounds memory and is approximate."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdiff.errors import InputError


def decoded_in_tiles(
    decode: Callable[[Array], Array], latents: Float[Array, "b h w c"], *, tile: int, overlap: float = 0.25
) -> Float[Array, "b h2 w2 o"]:
    """The images of latents that are decoded a tile at a time, blended linearly where tiles overlap.

    Norms and attention of a decoder see one tile and not the whole image, so that this is an approximation. It is that of
    diffusers' `enable_tiling`. Each of at most four sizes of tiles compiles a program of `decode`.

    Arguments:
        decode: from latents (B, h, w, C) to images (B, f h, f w, C') with a whole factor f.
        latents: of any height and width; those of one tile at most are decoded as they are, which is exact.
        tile: height and width of a tile in latents; the last of a row or column may be smaller.
        overlap: the share of a tile that overlaps with the next, in [0, 1).

    Raises:
        InputError: `tile` is below 1, or `overlap` is not in [0, 1).
    """
    if tile < 1:
        raise InputError(f"`tile` must be at least 1, got {tile}")
    if not 0 <= overlap < 1:
        raise InputError(f"`overlap` must lie in [0, 1), got {overlap}")
    step = max(1, int(tile * (1 - overlap)))
    _, height, width, _ = latents.shape
    if height <= tile and width <= tile:
        return decode(latents)
    rows: list[Array] = []
    above: list[Array] = []
    for top in range(0, height, step):
        row: list[Array] = []
        for position, left in enumerate(range(0, width, step)):
            piece = latents[:, top : top + tile, left : left + tile]
            decoded = decode(piece)
            factor = decoded.shape[1] // piece.shape[1]
            shared = (tile - step) * factor
            decoded = _blended(above[position], decoded, shared, axis=1) if above else decoded
            row.append(_blended(row[-1], decoded, shared, axis=2) if row else decoded)
        rows.append(jnp.concatenate([each[:, : step * factor, : step * factor] for each in row], axis=2))
        above = row
    return jnp.concatenate(rows, axis=1)


def _blended(before: Array, after: Array, shared: int, axis: int) -> Array:
    """A tile whose first pixels along an axis go over from the last ones of the tile before it."""
    shared = min(before.shape[axis], after.shape[axis], shared)
    if not shared:
        return after
    share = jnp.arange(shared) / shared
    share = share[:, None, None] if axis == 1 else share[:, None]
    last = jnp.take(before, jnp.arange(before.shape[axis] - shared, before.shape[axis]), axis=axis)
    first, rest = jnp.split(after, [shared], axis=axis)
    return jnp.concatenate([last * (1 - share) + first * share, rest], axis=axis)
