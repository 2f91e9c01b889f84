"""Safe Latent Diffusion (Schramowski et al. 2023): guidance away from unsafe concepts, where the prompt is near them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from jaxdiff.bounds import Bounds, Finite, NonNegative
from jaxdiff.defaults import SLD
from jaxdiff.errors import InputError

from ..registry import Ready
from ._anchored import in_form_of
from ._guidance_scale import GuidanceScale
from ._unsafe import WithUnsafeCondition


@dataclass(frozen=True, kw_only=True)
class SafeLatent(WithUnsafeCondition, GuidanceScale):
    """See `about`. At strength 0 and without concepts it is plain classifier-free guidance, in the same program."""

    name: ClassVar[str] = "safe_latent"
    about: ClassVar[str] = (
        "--sld: classifier-free guidance, away from --unsafe-concepts where the prompt is near them (Schramowski et al. 2023)"
    )
    enabled_by: ClassVar[str] = "sld"
    stateful: ClassVar[bool] = True
    anchors: ClassVar[bool] = True

    sld: Literal["weak", "medium", "strong", "max"] | None = None
    """Safe Latent Diffusion with the numbers of this preset of its authors, which the options below replace one by one."""
    sld_warmup: Annotated[int, Bounds(least=0, limit=10**6)] | None = None
    """Solver steps before it acts. The presets' are 15, 10, 7 and 0 of 50 steps, and the same share of another number."""
    sld_strength: NonNegative | None = None
    """Factor of the difference between prompt and concept, at least 0; 0 is plain guidance."""
    sld_threshold: Finite | None = None
    """Difference, in units of the noise, above which the prompt counts as far from the concept."""
    sld_momentum: NonNegative | None = None
    """Share of the momentum, at least 0."""
    sld_momentum_decay: Annotated[float, Bounds(least=0, below=1)] | None = None
    """Decay of the momentum, in [0, 1)."""

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError` for a search by a criterion with a warm-up."""
        if not by_sets and self._warmup(50):
            raise InputError(
                "a search does not support the warm-up of --sld, since its end and tau cannot share a node of the time grid: "
                "give --sld-warmup 0, or use --objective, which draws whole sets"
            )

    def _warmup(self, steps: int) -> int:
        """Steps before it acts, of so many."""
        return round(SLD[str(self.sld)].warmup * steps) if self.sld_warmup is None else self.sld_warmup

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        import jax
        import numpy as np

        from jaxdiff import guidance
        from jaxdiff._console.terminal import console

        unsafe, preset = self.unsafe_of(chosen), SLD[str(self.sld)]
        null, process, scale = chosen.null, chosen.model.process, self.guidance_scale
        numbers = {
            name: getattr(preset, name) if own is None else own
            for name in ("strength", "threshold", "momentum", "momentum_decay")
            for own in (getattr(self, f"sld_{name}"),)
        }
        if unsafe is None or not numbers["strength"]:
            return Ready(self, lambda denoise, _: guidance.classifier_free(denoise, null, scale), {})
        row = jax.tree.map(lambda leaf: leaf[0], unsafe.condition(jax.tree.map(lambda leaf: leaf[None], null)))
        if all(np.array_equal(*pair) for pair in zip(jax.tree.leaves(row), jax.tree.leaves(null), strict=True)):
            console.print(
                "Warning: --sld: the unsafe concepts are the negative prompt, so it has no direction and changes nothing",
                highlight=False,
            )
        warmup, nodes = self._warmup(chosen.solver.steps), chosen.solver.times(process)
        # from the last node on there are no steps
        start = 1.0 if not warmup else nodes[warmup] if warmup < chosen.solver.steps else 0.0
        own = partial(guidance.safe_latent, scale=scale, start=start, **numbers)
        return Ready(
            self,
            lambda denoise, _: own(denoise, process, null, row),
            {"preset": self.sld, "warmup": warmup, **numbers, **unsafe.settings},
            form=lambda denoise, condition: own(denoise, process, in_form_of(null, condition), in_form_of(row, condition)),
        )

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"SLD {self.sld}, scale {self.guidance_scale:g}",)
