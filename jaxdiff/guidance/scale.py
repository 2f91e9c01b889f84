"""Scales of classifier-free guidance that belong to conditions."""

from typing import Any

from jaxtyping import Array, Float

from jaxdiff.process import expand

SCALE = "guidance"
"""The part of a condition that is the scale of each sample."""


def scale_of(scale: Float[Array, ""], condition: Any, x: Float[Array, "b ..."]) -> Array:
    """The scale of guidance: the condition's own, a part `guidance` (B,) of a dictionary, where it has one, or else `scale`."""
    own = condition.get(SCALE) if isinstance(condition, dict) else None
    return scale if own is None else expand(own, x)
