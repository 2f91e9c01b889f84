"""DiffEdit: a plain sample of another label, edited to its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Method, Modifier


@dataclass(frozen=True, kw_only=True)
class Editing(Method):
    """See `about`."""

    name: ClassVar[str] = "editing"
    about: ClassVar[str] = "DiffEdit: a vanilla sample of another label, edited to its own"

    edit_strength: float = 0.8
    """The time that images are encoded to, in (0, 1]; more changes more."""

    def refuses(self, modifier: Modifier) -> str | None:
        """Guards."""
        return "--unsafe and --guard are for methods that draw in one run" if modifier.slot == "guard" else None

    def check(self, sampling: Any) -> None:
        """Raises `InputError` for a solver that does not run upward."""
        if sampling.solver not in ("ddim", "heun"):
            raise InputError(
                f"--method editing takes --solver ddim or heun, which run upward too, got --solver {sampling.solver}"
            )

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The image's own condition: that of the run which it begins with has the same form."""
        return plan.own(ends)

    def draw(self, drawing: Any, indices: Any, ends: Any) -> tuple[Any, Any]:
        """Samples of other labels, edited to their own."""
        import jax

        from jaxdiff import editing

        source = drawing.over_devices(drawing.plan.another(indices, ends))
        target, indices = drawing.over_devices((drawing.plan.own(ends), indices))
        denoise = drawing.denoiser(source)
        first, _ = drawing.sampled(denoise, source, indices)
        edited = editing.edit(
            denoise, drawing.chosen.model.process, first, source=source, target=target, solver=drawing.chosen.solver,
            key=jax.random.fold_in(drawing.key, 1), strength=self.edit_strength, indices=indices,
        )  # fmt: skip
        return edited.images, None

    def evaluations(self, drawing: Any) -> int:
        """Those of the plain sample, and of the edit."""
        from jaxdiff import editing

        process, solver = drawing.chosen.model.process, drawing.chosen.solver
        plain = drawing.evaluations_of_a_run()
        return plain + editing.edit_evaluations(process, solver, strength=self.edit_strength) * plain // solver.evaluations

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"strength {self.edit_strength:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "$others, edited to $own"
