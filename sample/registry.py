"""Methods and modifiers: the base classes. Each method and each modifier is one class in one file, with everything about it.

A *method* is a label plan: which conditions sampling starts and ends with, and how the denoiser uses them. A *modifier* changes
the denoiser under any method: a guard, a form of guidance, thresholding. Both are frozen dataclasses whose fields are
command-line options, with their defaults, docstrings and checks. Choices, help, errors, provenance and captions are derived
from them. Neither this file nor the top level of a method's or modifier's file imports JAX, so that `--help` and option errors
are fast; functions import what they need.
"""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.help_text import docstrings
from jaxdiff.errors import InputError

if TYPE_CHECKING:
    from .drawing import Drawing
    from .options import Draw, Sampling
    from .plan import Plan
    from .setting import Setting

INTERNAL = {"option": False}
"""Metadata of a field that is not a command-line option."""
Slot = Literal["clipping", "guide", "guidance", "interval", "guard", "prompt"]


class Option(NamedTuple):
    """A command-line option.

    Attributes:
        name: the name of its field; see `flag`.
        type: its type.
        default: its default value.
        about: its help text.
    """

    name: str
    type: Any
    default: Any
    about: str


def flag(name: str) -> str:
    """The command-line flag of an option: `guidance_scale` becomes `--guidance-scale`."""
    return f"--{name.replace('_', '-')}"


@cache
def options_of(cls: type) -> Mapping[str, Option]:
    """The options of a dataclass by name, in the order of its fields."""
    about = docstrings(cls)
    return {
        field.name: Option(field.name, field.type, field.default, about.get(field.name, ""))
        for field in fields(cls)
        if field.metadata.get("option", True)
    }


@dataclass(frozen=True, kw_only=True)
class Entry(CheckedOptions, abc.ABC):
    """Base class of methods and modifiers. The fields of a subclass are its options.

    Attributes:
        name: its name on the command line.
        about: a one-line description.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    @classmethod
    @abc.abstractmethod
    def spelled(cls) -> str:
        """The command-line option that chooses it, for messages."""

    @property
    def needs_null(self) -> bool:
        """Whether it needs a model with a null label."""
        return False

    def check(self, sampling: "Sampling") -> None:  # most can be combined with all
        """Raises `InputError` if its options cannot be combined with the sampling options."""


class Method(Entry):
    """A label plan, and how the denoiser uses it.

    Attributes:
        needs_labels: whether it needs a model conditioned on labels.
        extrapolates: whether its posterior mean may leave the range of the data.
        takes_scale: whether it applies classifier-free guidance itself, instead of the modifier.
        labels_all: whether it gives the labels of all attributes of the model, also of those that are not chosen.
        records: whether it keeps a record of each image, as guards do.
        start: the label that sampling starts with, if not the image's own: `other` or `none`.
        fair_table: the fair table of a text-to-image model, a name or a file; None for none.
    """

    needs_labels: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False
    takes_scale: ClassVar[bool] = False
    labels_all: ClassVar[bool] = False
    records: ClassVar[bool] = False
    start = "other"
    fair_table = None

    @classmethod
    def spelled(cls) -> str:
        return f"--method {cls.name}"

    def refuses(self, modifier: "Modifier") -> str | None:
        """The reason why it cannot be combined with a modifier; None if it can."""
        return None

    def sets(self, options: "Draw", chosen: "Setting") -> Iterator[tuple[Path, "Method"]]:
        """The sets to draw: the folder of each, and the method with its transition points filled in."""
        yield options.out, self

    def example(self) -> "Method":
        """The method with arbitrary transition points, for a dry run: the compiled program is the same."""
        return self

    def ends(self, plan: "Plan", count: int) -> Any:
        """The label of each of `count` images, as a position in the setting's values, (N,)."""
        return plan.in_turn(count)

    def labels(self, plan: "Plan", indices: Any, ends: Any) -> Any:
        """The label rows (B, A) that are recorded for images with these indices and labels."""
        return plan.chosen.labels(ends)

    @abc.abstractmethod
    def condition(self, plan: "Plan", indices: Any, ends: Any) -> Any:
        """The condition of images with these indices and labels, in the structure that `around` expects."""

    def around(self, denoise: Callable, drawing: "Drawing", indices: Any = None, ends: Any = None) -> Callable:
        """Wraps the denoiser.

        Arguments:
            denoise: the model's denoiser, with the inner modifiers.
            drawing: the method with its setting.
            indices, ends: indices and labels of the images; None if any will do, to compile and to count evaluations.
        """
        return denoise

    def draw(self, drawing: "Drawing", indices: Any, ends: Any, noise: Any) -> tuple[Any, Any]:
        """Samples with these indices and labels, and the guard's record, if any; `noise` is of `Drawing.noise`."""
        condition = drawing.over_devices(self.condition(drawing.plan, indices, ends))
        return drawing.sampled(drawing.denoiser(condition, indices, ends), condition, noise)

    def evaluations(self, drawing: "Drawing") -> int:
        """Network evaluations per image."""
        return drawing.evaluations_of_a_run()

    def settings(self, plan: "Plan") -> dict[str, Any]:
        """The options used, for the provenance of a set; JSON-ready."""
        return {name: getattr(self, name) for name in options_of(type(self))}

    def provenance(self, chosen: "Setting") -> dict[str, Any]:
        """Further entries of the provenance of a set; JSON-ready."""
        return {}

    @property
    def parts(self) -> Sequence[str]:
        """Its settings, a few words each, for report pages."""
        return ()

    @property
    def caption(self) -> str | None:
        """Caption of an image, with $own for its label and $others for the other values; None to show only the set's."""
        return None


class Place(NamedTuple):
    """The position in the nest at which a denoiser is modified.

    Attributes:
        condition: the condition of the whole nest, or anything of that structure; None inside the method.
        plain: the denoiser without classifier-free guidance; None outside the method.
        form: outside the method, applies the form of classifier-free guidance to a denoiser, given it and the condition, for
            guards that apply guidance themselves; None for the plain form.
    """

    condition: Any = None
    plain: Callable | None = None
    form: Callable[[Callable, Any], Callable] | None = None


@dataclass(frozen=True)
class Ready:
    """A modifier prepared for a model.

    Attributes:
        modifier: the modifier.
        around: modifies a denoiser, given the denoiser and its place.
        settings: its settings, for provenance and for the context that a tau is valid in; JSON-ready.
        filtered: of slot `prompt`: the conditions of labels as a `filtered.Filtered`, given both.
        form: of a form of classifier-free guidance, see `Place`.
    """

    modifier: "Modifier"
    around: Callable[[Callable, Place], Callable]
    settings: Mapping[str, Any]
    filtered: Callable[[Any, Any], Any] | None = None
    form: Callable[[Callable, Any], Callable] | None = None


class Modifier(Entry):
    """A change to the denoiser that can be combined with any method.

    Attributes:
        slot: its position in the nest; each slot holds at most one modifier.
        enabled_by: the option that enables it.
        stateful: whether it keeps state between steps.
        incompatible: the methods that it cannot be combined with, by name, with the reason.
        anchors: of a form of classifier-free guidance, whether guards can apply it themselves.
        yields: whether another enabled modifier of the same slot replaces it.
        searched: whether the transition point is searched with it; if not, a draw uses a tau that was found without it.
    """

    slot: ClassVar[Slot]
    enabled_by: ClassVar[str]
    stateful: ClassVar[bool] = False
    incompatible: ClassVar[Mapping[str, str]] = {}
    anchors: ClassVar[bool] = False
    yields: ClassVar[bool] = False
    searched: ClassVar[bool] = True

    @classmethod
    def enabled(cls, options: Mapping[str, Any]) -> bool:
        """Whether these command-line options, by name, enable it."""
        return options[cls.enabled_by] != options_of(cls)[cls.enabled_by].default

    @classmethod
    def spelled(cls) -> str:
        return f"--guard {cls.name}" if cls.slot == "guard" else flag(cls.enabled_by)

    @property
    def takes_scale(self) -> bool:
        """Whether it applies classifier-free guidance itself, instead of the modifier of that slot."""
        return False

    def negative_prompt(self) -> str | None:
        """The negative prompt that it gives a text-to-image model; None for that of the options."""
        return None

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError` if tau cannot be searched with it.

        Arguments:
            by_sets: whether sets are drawn and evaluated, instead of computing a criterion.
        """

    @abc.abstractmethod
    def ready(self, chosen: "Setting") -> Ready | None:
        """Loads what it needs; None if it has nothing to do. Raises `InputError` if it does not fit the model."""

    @property
    def parts(self) -> Sequence[str]:
        """Its settings, a few words each, for report pages."""
        return (self.name.replace("_", " "),)


def find(entries: Mapping[str, type], name: str, what: str) -> type:
    """The entry with this name. Raises `InputError`, listing the known names, if there is none."""
    if name not in entries:
        raise InputError(f"unknown {what} {name!r}; it is one of {', '.join(entries)}")
    return entries[name]


def supporting(entries: Mapping[str, type], option: str) -> list[str]:
    """The names of the entries that have an option."""
    return [name for name, entry in entries.items() if option in options_of(entry)]


def required(option: Option) -> bool:
    """Whether an option has no default."""
    return option.default is MISSING
