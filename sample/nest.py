"""The denoiser given to the solver: the one place that nests guidances, in a fixed order.

From the inside out:

1. the network, with its mean clipped to the range of the data by the clipping policy (`policy.network`);
2. autoguidance, slot `guide`;
3. classifier-free guidance, plain or projected, slot `guidance`, within an interval of noise levels, slot `interval`;
4. the policy again (`policy.guided`), since guidance extrapolates;
5. the method, and the policy if its mean may leave the range;
6. the guard, slot `guard`, and the policy;
7. the switch from filtered prompts to the originals, slot `prompt`.

Slot `clipping` chooses the policy. Step 3 is omitted if the method or the guard applies classifier-free guidance itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxdiff.guidance import ClippingPolicy
from jaxdiff.model import Model

from . import filtered
from .registry import Modifier, Place, Ready, Slot


@dataclass(frozen=True)
class Nest:
    """A model's denoiser with modifiers.

    Attributes:
        model: the model.
        policy: the clipping policy, which keeps posterior means in the range of the data.
        modifiers: the prepared modifiers, at most one per slot.
    """

    model: Model
    policy: ClippingPolicy
    modifiers: tuple[Ready, ...]

    def in_slot(self, slot: Slot) -> Ready | None:
        """The modifier in a slot; None if there is none."""
        return next((each for each in self.modifiers if each.modifier.slot == slot), None)

    def only(self, wanted: Callable[[Modifier], bool]) -> "Nest":
        """The nest with only the modifiers that satisfy `wanted`."""
        return replace(self, modifiers=tuple(each for each in self.modifiers if wanted(each.modifier)))

    def settings(self) -> dict[str, Mapping[str, Any]]:
        """Settings of the modifiers by name, without the guard and plain classifier-free guidance, which are stored apart."""
        return {
            each.modifier.name: dict(each.settings)
            for each in self.modifiers
            if each.modifier.slot != "guard" and each.settings
        }

    def inside(self, takes_scale: bool = False) -> Callable:
        """The denoiser passed to the method: steps 1 to 4.

        Arguments:
            takes_scale: whether the method applies classifier-free guidance itself.
        """
        denoise = self.model.denoiser(self.policy)
        if guide := self.in_slot("guide"):
            denoise = guide.around(denoise, Place())
        plain = denoise
        if not (takes_scale or self.guard_takes_scale):
            for slot in ("guidance", "interval"):
                if modifier := self.in_slot(slot):
                    denoise = modifier.around(denoise, Place(plain=plain))
        return self.policy.guided(denoise)

    def outside(self, denoise: Callable, condition: Any, extrapolates: bool = False) -> Callable:
        """The denoiser given to the solver: step 5, after the method, and steps 6 and 7. It takes the condition `given`.

        Arguments:
            denoise: the method's denoiser.
            condition: the method's condition, or anything of that structure; of slot `prompt` its transitions are taken.
            extrapolates: whether its mean may leave the range of the data.
        """
        if extrapolates:
            denoise = self.policy.guided(denoise)
        prompt = self.in_slot("prompt")
        if guard := self.in_slot("guard"):
            inner = filtered.pair(condition)[1] if prompt else condition
            guidance = self.in_slot("guidance")
            place = Place(inner, form=guidance.form if guidance else None)
            denoise = self.policy.guided(guard.around(denoise, place))
        return prompt.around(denoise, Place(condition)) if prompt else denoise

    def given(self, condition: Any) -> Any:
        """The condition given to the solver for a method's condition."""
        return filtered.pair(condition) if self.in_slot("prompt") else condition

    @property
    def guard_takes_scale(self) -> bool:
        """Whether the guard applies classifier-free guidance itself."""
        guard = self.in_slot("guard")
        return guard is not None and guard.modifier.takes_scale
