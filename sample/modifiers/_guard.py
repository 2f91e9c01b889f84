"""What guards have in common: an unsafe set, a strength and a window of noise in which they act."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jaxdiff.errors import InputError

from ..registry import Modifier, Place, Ready, Slot, at_least, options_of

if TYPE_CHECKING:
    from jaxdiff.references import References

LARGE = 2**28
"""Bytes of unsafe images beyond which each device holds a part of them, and asks all others at every step."""


@dataclass(frozen=True, kw_only=True)
class Guard(Modifier):
    """A modifier that keeps away from what is unsafe."""

    slot: ClassVar[Slot] = "guard"
    lead: ClassVar[str] = "guard"
    remembers: ClassVar[bool] = True
    unsaid: ClassVar[tuple[str, ...]] = ("strength", "window")
    """Options that the provenance gives otherwise than as they are."""
    default_strength: ClassVar[float | None] = None

    strength: float | None = None
    """How strongly; by default as suits the guard. 0 is the plain drawing. safety_flow: in squared units of the data, to be
    tried from 20 times the number of unsafe images on, for 32x32 faces."""
    window: tuple[float, float] | None = None
    """SNR between which it acts, alpha² / sigma²; by default as suits the guard. `0 inf` is always."""

    def __post_init__(self):
        at_least("strength", self.strength, 0)

    @classmethod
    def asked(cls, options: Mapping[str, Any]) -> bool:
        """Whether --guard names it."""
        return options["guard"] == cls.name

    @property
    def gated(self) -> bool:
        """Whether it may act on some images only."""
        return False

    @property
    def used_strength(self) -> float | None:
        """The strength that is used."""
        return self.default_strength if self.strength is None else self.strength

    @property
    def common(self) -> dict[str, Any]:
        """What every guard of the library takes; a window that is not given is the library's."""
        return {"strength": self.used_strength, **({} if self.window is None else {"window": self.window})}

    def said(self) -> dict[str, Any]:
        """What it is, for provenance."""
        given = {name: plain(getattr(self, name)) for name in options_of(type(self)) if name not in self.unsaid}
        return {"guard": self.name, "strength": self.used_strength, "window": plain(self.window), **given}

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError` where tau cannot be searched under it."""
        if not self.searched:
            raise InputError(
                f"a search takes guards by images, not by labels, which are a part of what it switches; got --guard {self.name}"
            )
        if not by_sets and self.window != (0.0, math.inf):
            raise InputError(
                "a search under a guard takes --window 0 inf, since an edge and tau may want the same node of the grid; or "
                f"--objective, which draws whole sets; got --window {self.window or 'of the guard'}"
            )

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"guard {self.name.replace('_', ' ')}, strength {self.used_strength:g}",)


@dataclass(frozen=True, kw_only=True)
class ImageGuard(Guard):
    """A guard that keeps away from images."""

    unsaid: ClassVar[tuple[str, ...]] = (*Guard.unsaid, "value_names")

    unsafe: str | None = None
    """Unsafe images to keep away from: a folder, .zip, .npz, set of samples, or a selection such as `embedded:glasses=yes`."""
    unsafe_split: Literal["train", "validation", "test", "all"] = "train"
    """Their split."""
    unsafe_count: int | None = None
    """So many of them, drawn by seed 0; by default all. The cost of a step is proportional to it."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of the data that are named here, e.g. gender=male,female."""

    def __post_init__(self):
        super().__post_init__()
        if self.unsafe is None:
            raise InputError(f"--guard {self.name} takes --unsafe, images to keep away from")
        at_least("unsafe_count", self.unsafe_count, 1)

    def ready(self, chosen: Any) -> Ready:
        """Reads the unsafe images, and makes the guard of them."""
        import hashlib

        import numpy as np

        from jaxdiff._console.terminal import console
        from jaxdiff._console.unsafe import encoded
        from jaxdiff.references import references

        images = encoded(self.unsafe, self.unsafe_split, chosen.model.space, self.unsafe_count, self.value_names)
        spread = chosen.mesh if images.nbytes > LARGE and chosen.mesh.size > 1 else None
        around, more = self.around(chosen, references(images, mesh=spread))
        console.print(f"keeping away from {len(images)} images of {self.unsafe}", highlight=False)
        return Ready(
            self,
            around,
            {
                **self.said(),
                "unsafe_images": len(images),
                "unsafe_fingerprint": hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16],
                "unsafe_value_names": list(self.value_names),
                **more,
            },
        )

    def around(self, chosen: Any, unsafe: "References") -> tuple[Callable[[Callable, Place], Callable], dict[str, Any]]:
        """The guard, a function as of `Ready.around`, and what else it is, for provenance."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class WithLabels(Guard):
    """A guard that is told of unsafe labels."""

    unsafe_label: tuple[str, ...] = ()
    """Unsafe labels that the model knows, ATTRIBUTE=VALUE each, instead of images. safe, with --classifier: what of its
    attribute is unsafe, ATTRIBUTE=VALUE,VALUE,..., where --unsafe does not select it."""


@dataclass(frozen=True, kw_only=True)
class LabelGuard(WithLabels):
    """A guard that keeps away from what the model makes of labels."""

    searched: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        if not self.unsafe_label:
            raise InputError(f"--guard {self.name} takes --unsafe-label, ATTRIBUTE=VALUE of the model")

    def unsafe_condition(self, chosen: Any) -> Callable[[Any], Any]:
        """The method's condition with the unsafe labels in it: each image under its own other labels.

        Raises:
            InputError: the model does not know a label.
        """
        import jax
        import jax.numpy as jnp
        import numpy as np

        conditions = chosen.model.conditions
        sizes = np.array([len(attribute.values) + 1 for attribute in conditions.attributes], int)
        begins = np.cumsum(sizes) - sizes
        row, given = np.zeros(sizes.sum(), np.float32), np.zeros(sizes.sum(), bool)
        for item in self.unsafe_label:
            name, _, value = item.partition("=")
            column, attribute = conditions.attribute(name)
            given[begins[column] : begins[column] + sizes[column]] = True
            row[begins[column] + attribute.index(value)] = 1
        return lambda condition: jax.tree.map(lambda leaf: jnp.where(given, row, leaf), condition)


def plain(value: Any) -> Any:
    """JSON-ready."""
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return [plain(each) for each in value] if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
