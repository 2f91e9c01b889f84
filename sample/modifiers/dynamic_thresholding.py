"""Dynamic thresholding in place of clipping."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot, within


@dataclass(frozen=True, kw_only=True)
class DynamicThresholding(Modifier):
    """See `about`. It is a clipping policy, and so goes round nothing itself."""

    name: ClassVar[str] = "dynamic_thresholding"
    about: ClassVar[str] = "--dynamic-thresholding: rescales a guided mean into the range, in place of clipping it (Imagen)"
    slot: ClassVar[Slot] = "clipping"
    lead: ClassVar[str] = "dynamic_thresholding"

    dynamic_thresholding: float | None = None
    """The percentile, in [0, 100], of the sizes of an image's pixels to which it is rescaled where that is above 1; 99.5 is
    usual, and less saturates more."""

    def __post_init__(self):
        if self.dynamic_thresholding is not None:
            within("dynamic_thresholding", self.dynamic_thresholding, 0, 100)

    def policy(self, model: Any) -> Any:
        """The clipping policy. Raises `InputError` for a model of data that have no range of [-1, 1]."""
        import jax.numpy as jnp

        from jaxdiff import guidance

        if model.space.policy != guidance.Clip(-1.0, 1.0):
            raise InputError(f"--dynamic-thresholding is for data in [-1, 1], as pixels are; the model has {model.space}")
        return guidance.DynamicThresholding(jnp.float32(self.dynamic_thresholding))

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        return Ready(self, lambda denoise, _: denoise, {"percentile": self.dynamic_thresholding})

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"thresholded at {self.dynamic_thresholding:g} %",)
