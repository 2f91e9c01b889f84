"""Classifier-free guidance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Ready
from ._guidance_scale import GuidanceScale


@dataclass(frozen=True, kw_only=True)
class ClassifierFree(GuidanceScale):
    """See `about`. The scale is part of every context, so the provenance has no further settings."""

    name: ClassVar[str] = "classifier_free"
    about: ClassVar[str] = "--guidance-scale: classifier-free guidance (Ho and Salimans 2022)"
    enabled_by: ClassVar[str] = "guidance_scale"
    yields: ClassVar[bool] = True

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        null = chosen.null
        return Ready(self, lambda denoise, _: guidance.classifier_free(denoise, null, self.guidance_scale), {})

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"guidance scale {self.guidance_scale:g}",)
