"""Dynamic thresholding (Saharia et al. 2022) instead of clipping."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxdiff.bounds import Bounds
from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot


@dataclass(frozen=True, kw_only=True)
class DynamicThresholding(Modifier):
    """See `about`. It is a clipping policy, so `ready` leaves the denoiser unchanged."""

    name: ClassVar[str] = "dynamic_thresholding"
    about: ClassVar[str] = (
        "--dynamic-thresholding: rescales the posterior mean into the data range instead of clipping (Imagen)"
    )
    slot: ClassVar[Slot] = "clipping"
    enabled_by: ClassVar[str] = "dynamic_thresholding"

    dynamic_thresholding: Annotated[float, Bounds(least=0, most=100)] | None = None
    """Percentile, in [0, 100], of an image's absolute pixel values; if it exceeds 1, the image is clipped to it and divided by
    it. 99.5 is usual; lower values saturate more."""

    def policy(self, model: Any) -> Any:
        """The clipping policy. Raises `InputError` for a model whose data are not in [-1, 1]."""
        import jax.numpy as jnp

        from jaxdiff import guidance

        if model.space.policy != guidance.Clip(-1.0, 1.0):
            raise InputError(f"--dynamic-thresholding needs data in [-1, 1], such as pixels; the model has {model.space}")
        return guidance.DynamicThresholding(jnp.float32(self.dynamic_thresholding))

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        return Ready(self, lambda denoise, _: denoise, {"percentile": self.dynamic_thresholding})

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"thresholded at {self.dynamic_thresholding:g} %",)
