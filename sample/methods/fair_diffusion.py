"""Fair Diffusion (Friedrich et al. 2023): semantic guidance towards values assigned in target shares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxdiff.bounds import Bounds, Finite
from jaxdiff.errors import InputError

from ._shares import WithTarget
from ._table import WithTable


@dataclass(frozen=True, kw_only=True)
class FairDiffusion(WithTarget, WithTable):
    """See `about`. With a table the prompt is neutral and the concepts are the values of the table, with signs for each image.

    Images of prompts without a concept are drawn by the plain program, and are the same as without the table, bit for bit.
    """

    name: ClassVar[str] = "fair_diffusion"
    about: ClassVar[str] = (
        "Fair Diffusion: null label or neutral prompt, with semantic guidance towards a value drawn in shares"
    )
    extrapolates: ClassVar[bool] = True
    takes_scale: ClassVar[bool] = True

    edit_scale: Finite = 4.0
    """Strength of the semantic guidance."""
    edit_start: Annotated[float, Bounds(above=0, most=1)] = 0.8
    """Time in (0, 1] from which the guidance acts, until t = 0 (data)."""

    @property
    def needs_null(self) -> bool:
        """True: semantic guidance is measured from the null condition."""
        return True

    def check(self, sampling: Any) -> None:
        """Raises `InputError` for two sources of shares."""
        if self.fair_table is not None and self.target:
            raise InputError("--target and --fair-table both give target shares: use one of them")

    def ends(self, plan: Any, count: int) -> Any:
        """Labels assigned in the target shares."""
        from jaxdiff.fairness.assignment import assign

        if plan.fair is not None:
            return super().ends(plan, count)
        if plan.chosen.seeds is not None:
            raise InputError(
                "the column `seed` needs prompts in turn, and --method fair_diffusion without --fair-table draws them"
            )
        return assign(count, self.target_shares(plan), seed=plan.seed, mode=self.assignment)

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, and the concepts: the mean of the other values, and the image's own. With a table the neutral
        prompt, its values, and the direction of each."""
        if plan.fair is not None:
            return plan.unlabelled(ends), plan.edits(ends), plan.fair.signs()[ends]
        return plan.null(ends), (plan.others(ends), plan.own(ends))

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with semantic guidance away from the other values and towards the image's own."""
        import numpy as np

        from jaxdiff import guidance

        fair = drawing.plan.fair
        directions = np.array([-1.0, 1.0], np.float32) if fair is None else np.ones(len(fair.values), np.float32)
        model, null, strengths = drawing.chosen.model, drawing.chosen.null, self.edit_scale * directions
        return guidance.semantic(denoise, model.process, null, strengths=strengths, scale=drawing.scale, start=self.edit_start)

    def draw(self, drawing: Any, indices: Any, ends: Any, noise: Any) -> tuple[Any, Any]:
        """See `Method.draw`."""
        drawn = super().draw(drawing, indices, ends, noise)
        fair = drawing.plan.fair
        if fair is None or not fair.mixed:
            return drawn
        import jax
        import jax.numpy as jnp

        from jaxdiff.process import expand

        # programs of different batches round differently, and the breakpoint at the start moves a node
        neutral, nest = drawing.over_devices(drawing.plan.unlabelled(ends)), drawing.chosen.nest
        plain = drawing.sampled(nest.outside(nest.inside(), neutral), neutral, noise)
        guided = drawing.over_devices(fair.has_value(ends))
        return jax.tree.map(lambda a, b: jnp.where(expand(guided, a), a, b), drawn, plain)

    def settings(self, plan: Any) -> dict[str, Any]:
        """The options, with the target shares used."""
        return {**super().settings(plan), **({} if plan.fair else {"target": self.target_shares(plan)})}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"edit scale {self.edit_scale:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        neutral = "null label" if self.fair_table is None else "neutral prompt"
        return f"{neutral}, guided towards $own"
