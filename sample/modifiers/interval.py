"""Guidance interval: classifier-free guidance between two noise levels alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot


@dataclass(frozen=True, kw_only=True)
class Interval(Modifier):
    """See `about`. It goes round whatever form of classifier-free guidance is on."""

    name: ClassVar[str] = "interval"
    about: ClassVar[str] = "--guidance-interval: guidance within an interval of noise alone (Kynkäänniemi et al. 2024)"
    slot: ClassVar[Slot] = "interval"
    lead: ClassVar[str] = "guidance_interval"
    refused: ClassVar[Mapping[str, str]] = {
        "editing": "--method editing finds its mask at a time of its own, where an interval may leave guidance out"
    }

    guidance_interval: tuple[float, float] | None = None
    """SNR alpha² / sigma² between which guidance acts, low and high; by default everywhere. Outside it a step costs what it
    does without guidance."""

    def __post_init__(self):
        if self.guidance_interval is not None and not 0 <= self.guidance_interval[0] <= self.guidance_interval[1]:
            raise InputError(f"--guidance-interval takes two SNR, 0 <= low <= high, got {self.guidance_interval}")

    def check(self, sampling: Any) -> None:
        """Raises `InputError` where there is no guidance to keep within the interval."""
        if sampling.modifier("guidance") is None:
            raise InputError("--guidance-interval is for classifier-free guidance: give --guidance-scale other than 1, too")

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError` for a search by a criterion."""
        if not by_sets:
            raise InputError(
                "a search takes no --guidance-interval, since an edge and tau may want the same node of the grid: take "
                "--objective, which draws whole sets, or draw with --tau"
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
