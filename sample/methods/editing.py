"""DiffEdit (Couairon et al. 2022): a plain sample with another label, edited to the image's own label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxdiff.bounds import Bounds
from jaxdiff.choices import REVERSIBLE
from jaxdiff.errors import InputError

from ._two_runs import TwoRuns


@dataclass(frozen=True, kw_only=True)
class Editing(TwoRuns):
    """See `about`."""

    name: ClassVar[str] = "editing"
    about: ClassVar[str] = "DiffEdit: draw with another label, then edit the image to its own label"

    edit_strength: Annotated[float, Bounds(above=0, most=1)] = 0.8
    """Time to which images are encoded before decoding with the new label, in (0, 1]; larger values change more."""

    def check(self, sampling: Any) -> None:
        """Raises `InputError` for a solver that cannot encode, which takes steps from data to noise."""
        if sampling.solver not in REVERSIBLE:
            needs = f"--solver {' or '.join(REVERSIBLE)}, which can also encode images"
            raise InputError(f"--method editing needs {needs}, got {sampling.solver_given}")
        if sampling.network_eps:
            raise InputError("--method editing also encodes images, and steps of --network-eps cannot be reversed")

    def draw(self, drawing: Any, indices: Any, ends: Any, noise: Any) -> tuple[Any, Any]:
        """Samples with other labels, edited to their own labels."""
        from jaxdiff import editing

        source = drawing.over_devices(drawing.plan.another(indices, ends))
        target, (key, numbers) = drawing.over_devices(drawing.plan.own(ends)), noise
        denoise = drawing.denoiser(source)
        first, _ = drawing.sampled(denoise, source, (key, numbers))
        edited = editing.edit(
            denoise, drawing.chosen.model.process, first, source=source, target=target, solver=drawing.chosen.solver,
            key=self.second(key), strength=self.edit_strength, indices=numbers,
        )  # fmt: skip
        return edited.images, None

    def evaluations(self, drawing: Any) -> int:
        """Network evaluations of the plain sample and of the edit."""
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
        return "drawn as $others, edited to $own"
