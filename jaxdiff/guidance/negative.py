"""Negative guidance: away from the model's posterior mean under an unsafe condition, with a constant weight."""

from collections.abc import Callable
from typing import Any

from jax.typing import ArrayLike

from jaxdiff.guidance.displacing import at_least_zero
from jaxdiff.guidance.safe import Safe, dynamic_negative
from jaxdiff.guidance.window import ALWAYS
from jaxdiff.process import Process


def negative(
    denoise: Callable,
    process: Process,
    condition: Any,
    *,
    null: Any = None,
    scale: ArrayLike = 1.0,
    strength: Any = None,
    window: tuple[float, float] = ALWAYS,
) -> Safe:
    """Towards the sample's condition and away from an unsafe one, with one constant weight:

        E_null + scale (E[x_0 | x_t, c] - E[x_0 | x_t, c_unsafe]).

    This is classifier-free guidance with a negative term,

        E_null + scale (E_c - E_null) - strength (E_unsafe - E_null),    strength = scale,

    and outside the window, or at strength 0, it is classifier-free guidance: with scale 1 the plain conditional sampler, bit
    for bit. In the first form scale 0 is E_null, and no scale gives E_c: set `strength` to 0 to disable the negative term.

    A negative prompt is different: E_unsafe + scale (E_c - E_unsafe), which is `classifier_free` with the unsafe condition
    as `null`. The first form adds E_null - E_unsafe: at scale 1 a negative prompt has no effect, but this still pushes.

    Both use the same weight whether or not a state is near unsafe data; with `dynamic_negative` the weight depends on the
    state. One evaluation at three times the batch; at twice without `null`.

    Arguments:
        denoise: the denoiser inside, which may be a guidance.
        process: the forward process.
        condition: the unsafe condition, in the form of the null condition of `classifier_free`.
        null: the null condition; None if the samples have the null condition: E_null + scale (E_null - E_unsafe).
        scale: of classifier-free guidance, at least 0.
        strength: at least 0; None uses `scale`, the first form.
        window: SNR between which the negative term acts; an edge within the schedule is a node of the solver's grid.

    Raises:
        InputError: a number is below 0, or the window is outside the schedule.
    """
    scale = at_least_zero("scale", scale)
    strength = scale if strength is None else strength
    return dynamic_negative(
        denoise, process, condition, strength=strength, weight="constant", window=window, null=null, scale=scale
    )
