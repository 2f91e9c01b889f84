"""Floating-point images as 256 levels: which range they are in, and their rounding.

A few pixels never decide the range: resampling, compression and numerical noise leave values just outside it, so values outside
by at most 2 % of its width (the margin) are clipped. Images are taken to be in

- [0, 255] if at least a thousandth of the values are above 64,
- [-1, 1] otherwise, if at least a thousandth of the values are below -0.02,
- [0, 1] otherwise,

and values more than the margin outside the range are an error.
"""

import numpy as np
from jaxtyping import Float, UInt8

from jaxdiff.errors import InputError

MARGIN = 0.02
"""The part of a range's width up to which values outside it are clipped."""
EVIDENCE = 0.001
"""The share of the values that must lie where only one range has values, for it to be inferred."""
_UNIT, _SIGNED, _BYTES = (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)


def quantised(
    images: Float[np.ndarray, "n height width c"], given: tuple[int | float, int | float] | None, what: str
) -> tuple[UInt8[np.ndarray, "n height width c"], tuple[str, ...]]:
    """Floating-point images rounded to 256 levels, and a note on their range.

    Arguments:
        images: at least one, finite.
        given: low and high, which become the levels 0 and 255; None infers them from all images.
        what: the name of the images in error messages.

    Raises:
        InputError: images are not finite, or have values outside the range by more than the margin.
    """
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if len(bad):
        raise InputError(f"{what} must be finite; {len(bad)} images contain NaN or infinity, the first is image {bad[0]}")
    low, high = inferred(images) if given is None else given
    margin = MARGIN * (high - low)
    least, most = float(images.min()), float(images.max())
    if least < low - margin or most > high + margin:
        expected = "[0, 1], [-1, 1] or [0, 255]" if given is None else f"[{low:g}, {high:g}]"
        hint = "" if given else "; `range` takes another, such as -1 and 1"
        raise InputError(f"{what} must be in {expected} if floating point, got {least:g} to {most:g}{hint}")
    unit = (images.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    clipped = int(np.count_nonzero((images < low) | (images > high)))
    outside = f"; {clipped} of {images.size} values just outside are clipped" if clipped else ""
    taken = "as given" if given else "inferred from their values"
    note = f"floating-point images in [{low:g}, {high:g}], {taken}{outside}"
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8), (note,)


def inferred(images: Float[np.ndarray, "*shape"]) -> tuple[float, float]:
    """The range that the values give evidence of; see this module."""
    least = EVIDENCE * images.size
    if np.count_nonzero(images > 64) >= least:
        return _BYTES
    return _SIGNED if np.count_nonzero(images < -MARGIN) >= least else _UNIT
