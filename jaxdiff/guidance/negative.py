"""Negative guidance: away from the model's own posterior mean under an unsafe condition, by a constant weight."""

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

    Sorted by what it adds to what, it is classifier-free guidance and a negative term,

        E_null + scale (E_c - E_null) - strength (E_unsafe - E_null),    strength = scale,

    and outside the window, or at strength 0, classifier-free guidance of that scale is left: with scale 1 the plain sampler
    under the condition, bit for bit. In the first form scale 0 is E_null, under neither condition, and no scale gives E_c:
    it is `strength` that turns the negative term off.

    A negative prompt is another thing: E_unsafe + scale (E_c - E_unsafe), which is `classifier_free` with the unsafe condition
    as `null`. The first form is that plus E_null - E_unsafe: at scale 1 a negative prompt does nothing, and this still pushes.

    Both push by the same weight whether a state is anywhere near unsafe or not; `dynamic_negative` lets the weight follow
    the state. One evaluation at three times the batch; at twice without `null`.

    Arguments:
        denoise: the denoiser inside, which may be a guidance.
        process: the forward process.
        condition: the unsafe condition, as `classifier_free` takes its null one.
        null: the null condition; None where the sample's condition is the null one itself: E_null + scale (E_null - E_unsafe).
        scale: of classifier-free guidance, at least 0.
        strength: at least 0; None takes `scale`, which is the first form.
        window: SNR between which the negative term acts; an edge within the schedule is a node of the solver's grid.

    Raises:
        InputError: a number below 0, or a window outside the schedule.
    """
    scale = at_least_zero("scale", scale)
    strength = scale if strength is None else strength
    return dynamic_negative(
        denoise, process, condition, strength=strength, weight="constant", window=window, null=null, scale=scale
    )
