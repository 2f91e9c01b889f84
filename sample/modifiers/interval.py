"""Guidance interval (Kynkäänniemi et al. 2024): classifier-free guidance only between two noise levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.bounds import Unlimited
from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot


@dataclass(frozen=True, kw_only=True)
class Interval(Modifier):
    """See `about`. It applies to the form of classifier-free guidance in use."""

    name: ClassVar[str] = "interval"
    about: ClassVar[str] = "--guidance-interval: guidance only between two noise levels (Kynkäänniemi et al. 2024)"
    slot: ClassVar[Slot] = "interval"
    enabled_by: ClassVar[str] = "guidance_interval"
    incompatible: ClassVar[Mapping[str, str]] = {
        "editing": "--method editing computes its mask at a separate time, which a guidance interval may exclude"
    }

    guidance_interval: tuple[Unlimited, Unlimited] | None = None
    """Range of SNR, alpha² / sigma², in which classifier-free guidance acts, low and high; by default at every step. Steps
    outside it cost no more than without guidance."""

    def __post_init__(self):
        super().__post_init__()
        if self.guidance_interval is not None and not self.guidance_interval[0] <= self.guidance_interval[1]:
            raise InputError(f"--guidance-interval takes two SNR values, 0 <= low <= high, got {self.guidance_interval}")

    def check(self, sampling: Any) -> None:
        """Raises `InputError` without classifier-free guidance."""
        if sampling.modifier("guidance") is None:
            raise InputError("--guidance-interval needs classifier-free guidance: also give a --guidance-scale other than 1")

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError` for a search by a criterion."""
        if not by_sets:
            raise InputError(
                "a search does not support --guidance-interval, since its edges and tau cannot share a node of the time grid: "
                "use --objective, which draws whole sets, or draw with --tau"
            )

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        process, window = chosen.model.process, self.guidance_interval
        return Ready(
            self,
            lambda denoise, place: guidance.interval(denoise, process, place.plain, window=window),
            {"snr": [str(edge) if edge == float("inf") else edge for edge in window]},
        )

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        low, high = self.guidance_interval
        return (f"guided from SNR {low:g} to {high:g}",)
