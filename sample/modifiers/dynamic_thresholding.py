"""Dynamic thresholding (Saharia et al. 2022) instead of clipping."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot, check_range


@dataclass(frozen=True, kw_only=True)
class DynamicThresholding(Modifier):
    """See `about`. It is a clipping policy, so `ready` leaves the denoiser unchanged."""

    name: ClassVar[str] = "dynamic_thresholding"
    about: ClassVar[str] = (
        "--dynamic-thresholding: rescales the posterior mean into the data range instead of clipping (Imagen)"
    )
    slot: ClassVar[Slot] = "clipping"
    enabled_by: ClassVar[str] = "dynamic_thresholding"

    dynamic_thresholding: float | None = None
    """Percentile, in [0, 100], of an image's absolute pixel values; if it exceeds 1, the image is clipped to it and divided by
    it. 99.5 is usual; lower values saturate more."""

    def __post_init__(self):
        if self.dynamic_thresholding is not None:
            check_range("dynamic_thresholding", self.dynamic_thresholding, 0, 100)

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
