"""The denoiser that is sampled: the one place that puts guidances into one another, in one order.

From the inside out:

1. the network, its mean kept in the range of the data by the clipping policy (`policy.network`);
2. autoguidance, slot `guide`;
3. classifier-free guidance, plain or projected, slot `guidance`, within an interval of noise, slot `interval`;
4. the policy again (`policy.guided`), since guidance extrapolates;
5. the method, and the policy where its mean may leave the range;
6. the guard, slot `guard`, and the policy.

Slot `clipping` chooses the policy. Where a method or a guard adds classifier-free guidance itself, step 3 is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxdiff.guidance import ClippingPolicy
from jaxdiff.model import Model

from .registry import Modifier, Place, Ready, Slot


@dataclass(frozen=True)
class Nest:
    """A model's denoiser with modifiers.

    Attributes:
        model: the model.
        policy: what keeps posterior means in the range of the data.
        modifiers: made ready, at most one of each slot.
    """

    model: Model
    policy: ClippingPolicy
    modifiers: tuple[Ready, ...]

    def of(self, slot: Slot) -> Ready | None:
        """What stands in a slot; None where nothing does."""
        return next((each for each in self.modifiers if each.modifier.slot == slot), None)

    def only(self, wanted: Callable[[Modifier], bool]) -> "Nest":
        """The nest with some of the modifiers."""
        return replace(self, modifiers=tuple(each for each in self.modifiers if wanted(each.modifier)))

    def settings(self) -> dict[str, Mapping[str, Any]]:
        """What the modifiers but the guard are, by name; plain classifier-free guidance, whose scale is known, is left out."""
        return {
            each.modifier.name: dict(each.settings)
            for each in self.modifiers
            if each.modifier.slot != "guard" and each.settings
        }

    def inside(self, takes_scale: bool = False) -> Callable:
        """The denoiser that a method is given: steps 1 to 4.

        Arguments:
            takes_scale: whether the method adds classifier-free guidance itself.
        """
        denoise = self.model.denoiser(self.policy)
        if guide := self.of("guide"):
            denoise = guide.around(denoise, Place())
        plain = denoise
        if not (takes_scale or self.guard_takes_scale):
            for slot in ("guidance", "interval"):
                if modifier := self.of(slot):
                    denoise = modifier.around(denoise, Place(plain=plain))
        return self.policy.guided(denoise)

    def outside(self, denoise: Callable, condition: Any, extrapolates: bool = False) -> Callable:
        """The denoiser that is sampled: steps 5, of the method's denoiser, and 6.

        Arguments:
            denoise: the method's.
            condition: what it will be given, or anything of that structure.
            extrapolates: whether its mean may leave the range of the data.
        """
        if extrapolates:
            denoise = self.policy.guided(denoise)
        guard = self.of("guard")
        return self.policy.guided(guard.around(denoise, Place(condition))) if guard else denoise

    @property
    def guard_takes_scale(self) -> bool:
        """Whether the guard adds classifier-free guidance itself."""
        guard = self.of("guard")
        return guard is not None and guard.modifier.takes_scale
