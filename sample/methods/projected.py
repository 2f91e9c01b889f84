"""Projected guidance: from no label to the image's own, without the directions of other attributes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.bounds import NonNegative
from jaxdiff.errors import InputError

from ._others import NeedsOthers


@dataclass(frozen=True, kw_only=True)
class Projected(NeedsOthers):
    """See `about`."""

    name: ClassVar[str] = "projected"
    about: ClassVar[str] = (
        "models of several attributes: no label, led to the own one without the directions of others (concept algebra)"
    )
    extrapolates: ClassVar[bool] = True

    label_strength: NonNegative = 1.0
    """Strength of the projected direction; 0 is sampling without labels."""
    without: tuple[str, ...] = ()
    """Attributes whose directions are removed; by default all of the model's but --attribute."""

    @property
    def needs_null(self) -> bool:
        """True: directions are measured from the null condition."""
        return True

    def removed(self, chosen: Any) -> dict[str, int]:
        """The number of values of each attribute that is removed, by name. Raises `InputError` for one that is not there."""
        others = self.others(chosen)
        if unknown := [name for name in self.without if name not in others]:
            raise InputError(f"--without takes other attributes of the model, {', '.join(others)}; got {' '.join(unknown)}")
        return {name: count for name, count in others.items() if not self.without or name in self.without}

    def fits(self, chosen: Any) -> None:
        """Raises `InputError` as `removed`."""
        self.removed(chosen)

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, the image's own, and for each removed attribute the condition of each value alone."""
        import numpy as np

        attributes = plan.chosen.model.conditions.attributes
        names = [each.name for each in attributes]

        def of_value(name: str, value: int) -> Any:
            rows = np.full((len(ends), len(names)), -1, np.int32)
            rows[:, names.index(name)] = value
            return plan.of_labels(rows)

        removed = self.removed(plan.chosen).items()
        others = tuple(tuple(of_value(name, value) for value in range(count)) for name, count in removed)
        return plan.null(ends), plan.own(ends), others

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with projected guidance."""
        from jaxdiff import guidance

        counts = tuple(self.removed(drawing.chosen).values())
        return guidance.projected(denoise, strength=self.label_strength, counts=counts)

    def settings(self, plan: Any) -> dict[str, Any]:
        """The options, with the attributes that are removed."""
        return {**super().settings(plan), "without": list(self.removed(plan.chosen))}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"strength {self.label_strength:g}", *([f"without {', '.join(self.without)}"] if self.without else []))

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "no label, led to $own without other attributes"
