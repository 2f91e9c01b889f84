"""Base classes of guards: unsafe images or labels, a strength, and a window of noise levels in which they act."""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Count, NonNegative, Unlimited
from jaxdiff.errors import InputError

from ..registry import Modifier, Place, Ready, Slot, options_of
from ._unsafe import WithUnsafeCondition

if TYPE_CHECKING:
    from jaxdiff.references import References

LARGE = 2**28
"""Bytes of unsafe images above which they are sharded over the devices."""


@dataclass(frozen=True, kw_only=True)
class Guard(Modifier):
    """A modifier that guides sampling away from unsafe images."""

    slot: ClassVar[Slot] = "guard"
    enabled_by: ClassVar[str] = "guard"
    stateful: ClassVar[bool] = True
    omitted: ClassVar[tuple[str, ...]] = ("strength", "window")
    """Options that the provenance stores in another form."""
    default_strength: ClassVar[float | None] = None

    strength: NonNegative | None = None
    """Strength of the guard, at least 0; 0 samples without it. Default: 1 for safe and negative, 1.6 for repellency, 5 for
    dynamic_negative. safety_flow has no default: its strength is in squared units of the data; for 32x32 faces start with 20
    times the number of unsafe images."""
    window: tuple[Unlimited, Unlimited] | None = None
    """Range of SNR, alpha² / sigma², in which the guard acts, low and high; the default depends on the guard. `0 inf`: at every
    step."""

    @classmethod
    def enabled(cls, options: Mapping[str, Any]) -> bool:
        """Whether --guard selects it."""
        return options["guard"] == cls.name

    @property
    def gated(self) -> bool:
        """Whether a threshold can exclude images."""
        return False

    @property
    def used_strength(self) -> float | None:
        """The given strength, or the default."""
        return self.default_strength if self.strength is None else self.strength

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of every guard in the library; without --window its default applies."""
        return {"strength": self.used_strength, **({} if self.window is None else {"window": self.window})}

    def provenance(self) -> dict[str, Any]:
        """Its settings, for provenance."""
        given = {name: plain(getattr(self, name)) for name in options_of(type(self)) if name not in self.omitted}
        return {"guard": self.name, "strength": self.used_strength, "window": plain(self.window), **given}

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError` if tau cannot be searched with it."""
        if not self.searched:
            raise InputError(
                "a search supports guards with unsafe images, not labels or concepts, since it switches conditions itself; "
                f"got --guard {self.name}"
            )
        if not by_sets and self.window != (0.0, math.inf):
            raise InputError(
                "a search with a guard needs --window 0 inf, since a window edge and tau cannot share a node of the time grid; "
                f"or use --objective, which draws whole sets; got --window {self.window or 'unset'}"
            )

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"guard {self.name.replace('_', ' ')}, strength {self.used_strength:g}",)


@dataclass(frozen=True, kw_only=True)
class ImageGuard(Reading, Guard):
    """A guard that guides away from images."""

    omitted: ClassVar[tuple[str, ...]] = (*Guard.omitted, "value_names", "layout", "range", "follow_links")

    unsafe: str | None = None
    """Unsafe images: a set of samples, a folder, .zip, .tar, .npz or .parquet, or a selection by attribute
    such as `embedded:glasses=yes`. Models of series: a set of samples, an .npz of windows, a table, or a selection."""
    unsafe_split: Literal["train", "validation", "test", "all"] | None = None
    """Split of the unsafe images to use; by default train of a data set with splits of its own, and all of one without."""
    unsafe_count: Count | None = None
    """Number of unsafe images to use, a random subset (seed 0); by default all. The cost of a step is proportional to it."""

    def __post_init__(self):
        super().__post_init__()
        if self.unsafe is None:
            raise InputError(f"--guard {self.name} needs --unsafe, the images to avoid")

    def ready(self, chosen: Any) -> Ready:
        """Loads the unsafe images, and builds the guard from them."""
        import hashlib

        import numpy as np

        from jaxdiff._console.terminal import console
        from jaxdiff.references import references

        images = self.encoded(self.unsafe, chosen, self.unsafe_count)
        spread = chosen.mesh if images.nbytes > LARGE and chosen.mesh.size > 1 else None
        refs = references(images, limits=chosen.model.space.limits, mesh=spread)
        around, more = self.around(chosen, refs)
        different = f" ({refs.distinct} distinct)" if refs.distinct < refs.count else ""
        line = f"guard {self.name}: {refs.count} unsafe images{different} from {self.unsafe}"
        console.print(line, highlight=False)
        return Ready(
            self,
            around,
            {
                **self.provenance(),
                "unsafe_images": len(images),
                "unsafe_fingerprint": hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16],
                "unsafe_value_names": list(self.value_names),
                # only if given, so that the sets drawn without them keep their settings
                **({"unsafe_layout": self.layout} if self.layout else {}),
                **({"unsafe_range": list(self.range)} if self.range else {}),
                **more,
            },
        )

    def encoded(self, spec: str, chosen: Any, count: int | None = None) -> Any:
        """The images of a data set in the model's space, read as the options say; see `jaxdiff._console.unsafe.encoded`."""
        from jaxdiff._console.unsafe import encoded

        space, reading = chosen.model.space, {"layout": self.layout, "range": self.range, "links": self.follow_links}
        return encoded(spec, self.unsafe_split, space, count, self.value_names, training=chosen.model.training, **reading)

    @abc.abstractmethod
    def around(self, chosen: Any, unsafe: "References") -> tuple[Callable[[Callable, Place], Callable], dict[str, Any]]:
        """The guard, a function as in `Ready.around`, and further settings for provenance."""


@dataclass(frozen=True, kw_only=True)
class ConditionGuard(WithUnsafeCondition, Guard):
    """A guard that guides away from the model's own mean under unsafe concepts or labels."""

    omitted: ClassVar[tuple[str, ...]] = (*Guard.omitted, "unsafe_label", "unsafe_concepts")
    searched: ClassVar[bool] = False


def plain(value: Any) -> Any:
    """The value, JSON-ready."""
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return [plain(each) for each in value] if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
