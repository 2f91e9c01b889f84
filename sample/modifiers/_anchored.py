"""Guards that move the guided or the unconditional mean."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..registry import Place
from ._guard import Guard


@dataclass(frozen=True, kw_only=True)
class Anchored(Guard):
    """A guard that can apply classifier-free guidance itself."""

    anchor: Literal["guided", "unconditional"] = "guided"
    """With --guidance-scale: which mean the guard moves, the guided or the unconditional one. For safe the paper has the
    unconditional one; so has negative guidance, with --strength equal to --guidance-scale."""

    @property
    def takes_scale(self) -> bool:
        """True with --anchor unconditional."""
        return self.anchor == "unconditional"

    @property
    def needs_null(self) -> bool:
        """True with --anchor unconditional."""
        return self.takes_scale

    def anchored(self, chosen: Any, denoise: Callable, place: Place) -> tuple[Callable, dict[str, Any]]:
        """The denoiser to guard, and the arguments of the library's guard that apply classifier-free guidance."""
        if not self.takes_scale:
            return denoise, {}
        null = in_form_of(chosen.null, place.condition)
        if place.form is not None:
            return place.form(denoise, place.condition), {"null": null}
        return denoise, {"null": null, "scale": chosen.scale}


def in_form_of(row: Any, condition: Any) -> Any:
    """A condition of one sample, in the structure of a method's condition: a pair for switching."""
    import jax

    form = jax.tree.structure(row)
    return jax.tree.map(lambda _: row, condition, is_leaf=lambda each: jax.tree.structure(each) == form)
