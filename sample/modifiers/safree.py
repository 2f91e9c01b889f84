"""SAFREE (Yoon et al. 2025): images start with a prompt whose tokens near unsafe concepts are moved away from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxdiff.bounds import Bounds, Finite, NonNegative, Positive
from jaxdiff.defaults import SAFREE_MIDPOINT, SAFREE_SHARE, SAFREE_SLOPE, SAFREE_THRESHOLD
from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot
from ._unsafe import WithConcepts

SHOWN = 8
"""The prompts whose masked tokens are printed."""


@dataclass(frozen=True, kw_only=True)
class Safree(WithConcepts, Modifier):
    """See `about`. Without concepts, and for prompts of which no token is masked, it is plain sampling."""

    name: ClassVar[str] = "safree"
    about: ClassVar[str] = "--safree: prompts start without what they say of --unsafe-concepts (SAFREE, Yoon et al. 2025)"
    slot: ClassVar[Slot] = "prompt"
    enabled_by: ClassVar[str] = "safree"
    searched: ClassVar[bool] = False
    incompatible: ClassVar[Mapping[str, str]] = {
        "editing": "--method editing computes its mask at a separate time, at which the prompt may be a filtered one",
        "fair_projection": "--method fair_projection replaces the embeddings of prompts, as SAFREE does",
    }

    safree: bool = False
    """Filter prompts by SAFREE: the tokens without which a prompt is farther from --unsafe-concepts are projected out of their
    subspace, for the first steps, as many as the prompt is moved far. Reliable only with text encoders trained as CLIP was."""
    safree_threshold: NonNegative = SAFREE_THRESHOLD
    """A token is masked if the prompt without it is this part farther from the concepts than without others on average, at
    least 0; larger values mask fewer."""
    safree_slope: Positive = SAFREE_SLOPE
    """Slope of the number of filtered steps as a function of the distance that the prompt is moved. The authors' is 2.5 for
    nudity, 3.5 for artists."""
    safree_midpoint: Finite = SAFREE_MIDPOINT
    """Ten times the distance at which half of --safree-share is filtered. The authors' is 5.333 for nudity, 5.5 for artists."""
    safree_share: Annotated[float, Bounds(above=0, most=1)] = SAFREE_SHARE
    """Largest share of the steps with the filtered prompt, in (0, 1]; the authors' is 10 of 50 steps."""
    safree_negative: bool = False
    """Also take the concepts, joined by commas, as negative prompt, as the authors do. Needs --guidance-scale."""

    def __post_init__(self):
        super().__post_init__()
        if not self.unsafe_concepts:
            raise InputError('--safree needs --unsafe-concepts, phrases such as "a beard" or a text file of them')

    def check(self, sampling: Any) -> None:
        """Raises `InputError` if no inner node is there to switch at, or the negative prompt has no use or is given."""
        if sampling.steps < 2:
            raise InputError(f"--steps must be at least 2 for --safree, got {sampling.steps}")
        if self.safree_negative and sampling.negative is not None:
            raise InputError("--safree-negative and --negative both give the negative prompt: use one of them")
        if self.safree_negative and sampling.scale == 1:
            raise InputError("--safree-negative needs --guidance-scale, without which there is no negative prompt")

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError`: prompts are searched as they are."""
        raise InputError("tau is searched without --safree, and a draw with --safree takes it: leave the option out here")

    def negative_prompt(self) -> str | None:
        """The concepts joined, with --safree-negative."""
        return ", ".join(self.phrases()) or None if self.safree_negative else None

    def ready(self, chosen: Any) -> Ready | None:
        """Filters the prompts. Raises `InputError` for a model that takes none."""
        import numpy as np

        from jaxdiff import guidance
        from jaxdiff.conditions import safree

        from ..filtered import Filtered, transition

        concepts, conditions = self.concepts(chosen), chosen.model.conditions
        if not concepts:
            return None
        names = ("threshold", "slope", "midpoint", "share")
        numbers = {name: getattr(self, f"safree_{name}") for name in names}
        found = safree.filter_prompts(conditions, conditions.prompts, concepts, **numbers)
        times = safree.transition(found.last, chosen.solver.times(chosen.model.process))
        self._show(conditions, found)

        def filtered(labels: Any, condition: Any) -> Filtered:
            places = conditions.places(labels)
            return Filtered({**condition, "text": found.text[places]}, condition, times[places])

        masked = [np.flatnonzero(row).tolist() for row in found.masked]
        settings = {**numbers, "concepts": list(concepts), "masked": masked, "last_step": found.last.tolist()}
        around = lambda denoise, place: guidance.switching(denoise, transition(place.condition))  # noqa: E731
        return Ready(self, around, settings, filtered)

    def _show(self, conditions: Any, found: Any) -> None:
        """Prints how many tokens are masked, and for how long the filtered prompt is used, of the first prompts."""
        from jaxdiff._console.terminal import console
        from jaxdiff.conditions.safree import STEPS

        tokenizer, shown = conditions.encoders[-1].tokenizer, conditions.prompts[:SHOWN]
        for prompt, masked, moved, last in zip(shown, found.masked, found.moved, found.last, strict=False):
            words = " ".join(tokenizer.words(prompt, masked))
            acts = (
                f"{words!r}, distance {moved:.3f}, filtered in {min(last + 1, STEPS)} of {STEPS} steps" if words else "no token"
            )
            console.print(f"SAFREE masks in {prompt!r}: {acts}", highlight=False, markup=False)
        count = int(found.masked.any(1).sum())
        console.print(f"SAFREE filters {count} of {len(conditions.prompts)} prompts", highlight=False, markup=False)

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return ("SAFREE",)
