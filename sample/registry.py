"""What a method and a modifier are: each is one class in one file, and the class says all that there is to know of it.

A *method* is a label plan: which condition an image starts and ends with, and how the denoiser uses it. A *modifier* changes
the denoiser under any method: a guard, a form of guidance, thresholding. Both are frozen dataclasses whose fields are the
command line's options, with their defaults, docstrings and checks. Choices, help, errors, provenance and captions are derived
from them. Nothing here, nor at the top of a method's or modifier's file, imports arrays: `--help` and wrong options answer at
once; what needs arrays is imported by the functions that use it.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from jaxdiff.errors import InputError

if TYPE_CHECKING:
    from .drawing import Drawing
    from .options import Draw, Sampling
    from .plan import Plan
    from .setting import Setting

INTERNAL = {"option": False}
"""Metadata of a field that is no option of the command line."""
Slot = Literal["clipping", "guide", "guidance", "interval", "guard"]


class Option(NamedTuple):
    """An option of the command line.

    Attributes:
        name: of its field; `--` and hyphens make it the flag.
        type: what it takes.
        default: its value where it is not given.
        about: its help.
    """

    name: str
    type: Any
    default: Any
    about: str


def flag(name: str) -> str:
    """The flag of an option."""
    return f"--{name.replace('_', '-')}"


@cache
def _classes(file: str) -> Mapping[str, ast.ClassDef]:
    """The classes that a file defines, by name."""
    return {each.name: each for each in ast.parse(Path(file).read_text("utf-8")).body if isinstance(each, ast.ClassDef)}


@cache
def docstrings(cls: type) -> Mapping[str, str]:
    """The docstrings below the fields of a class and of those that it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if not is_dataclass(each):
            continue
        definition = _classes(sys.modules[each.__module__].__file__)[each.__name__]
        for above, below in pairwise(definition.body):
            match above, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


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
class Entry:
    """What methods and modifiers have in common. The fields of a subclass are its options.

    Attributes:
        name: its name on the command line.
        about: what it does, in a line.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    @property
    def needs_null(self) -> bool:
        """Whether it takes a model with a null label."""
        return False

    def check(self, sampling: "Sampling") -> None:
        """Raises `InputError` where its options do not go with how the model is sampled."""


class Method(Entry):
    """A label plan, and how the denoiser uses it.

    Attributes:
        needs_labels: whether it takes a model that labels condition.
        extrapolates: whether its posterior mean may leave the range of the data.
        takes_scale: whether it adds classifier-free guidance itself, in place of the modifier.
        start: what an image starts under where that is not its own label: `other` or `none`.
    """

    needs_labels: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False
    takes_scale: ClassVar[bool] = False
    start = "other"

    def refuses(self, modifier: "Modifier") -> str | None:
        """Why it does not go with a modifier; None where it does."""
        return None

    def sets(self, options: "Draw", chosen: "Setting") -> Iterator[tuple[Path, "Method"]]:
        """The sets that it draws: of each the folder, and the method with all that was left open."""
        yield options.out, self

    def example(self) -> "Method":
        """The method with anything for what is left open: its program is the same."""
        return self

    def ends(self, plan: "Plan", count: int) -> Any:
        """The label of each of `count` images, as a position in the values that are drawn, (N,)."""
        return plan.in_turn(count)

    def condition(self, plan: "Plan", indices: Any, ends: Any) -> Any:
        """The condition of images of these indices and labels, as `around` takes it."""
        raise NotImplementedError

    def around(self, denoise: Callable, drawing: "Drawing", indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser that draws.

        Arguments:
            denoise: the model's, with the modifiers that go inside.
            drawing: what it draws with.
            indices, ends: of the images; None where any will do, to compile and to count.
        """
        return denoise

    def draw(self, drawing: "Drawing", indices: Any, ends: Any) -> tuple[Any, Any]:
        """Samples of these indices and labels, and the record of the guard, if any."""
        condition = drawing.over_devices(self.condition(drawing.plan, indices, ends))
        return drawing.sampled(drawing.denoiser(condition, indices, ends), condition, drawing.over_devices(indices))

    def evaluations(self, drawing: "Drawing") -> int:
        """Evaluations of networks that an image costs."""
        return drawing.evaluations_of_a_run()

    def settings(self, plan: "Plan") -> dict[str, Any]:
        """The options that it used, for the provenance of a set; JSON-ready."""
        return {name: getattr(self, name) for name in options_of(type(self))}

    def told(self, chosen: "Setting") -> dict[str, Any]:
        """What else the provenance of a set says."""
        return {}

    @property
    def parts(self) -> Sequence[str]:
        """Its settings in few words each, for the page of a report."""
        return ()

    @property
    def caption(self) -> str | None:
        """How it leads to a label: words with $own for the label and $others for the rest; None for its name alone."""
        return None


class Place(NamedTuple):
    """Where in the nest a denoiser is modified.

    Attributes:
        condition: what the nest will be given, or anything of that structure; None within the method.
        plain: the denoiser without classifier-free guidance; None outside the method.
    """

    condition: Any = None
    plain: Callable | None = None


@dataclass(frozen=True)
class Ready:
    """A modifier made ready for a model.

    Attributes:
        modifier: the modifier.
        around: the denoiser, modified; a function of the denoiser and its place.
        settings: what it is, for provenance, and so what tau is tied to; JSON-ready.
    """

    modifier: "Modifier"
    around: Callable[[Callable, Place], Callable]
    settings: Mapping[str, Any]


class Modifier(Entry):
    """A change of the denoiser that goes with any method.

    Attributes:
        slot: where in the nest it stands; of each slot at most one is used.
        lead: the option that turns it on.
        remembers: whether it carries something from step to step.
        refused: the methods that it does not go with, by name, with the reason.
        yields: whether another modifier of its slot takes its place, where both are asked for.
        searched: whether the transition point is searched under it; where it is not, a draw takes a tau found without it.
    """

    slot: ClassVar[Slot]
    lead: ClassVar[str]
    remembers: ClassVar[bool] = False
    refused: ClassVar[Mapping[str, str]] = {}
    yields: ClassVar[bool] = False
    searched: ClassVar[bool] = True

    @classmethod
    def asked(cls, options: Mapping[str, Any]) -> bool:
        """Whether these options of the command line, by name, ask for it."""
        return options[cls.lead] != options_of(cls)[cls.lead].default

    @property
    def takes_scale(self) -> bool:
        """Whether it adds classifier-free guidance itself, in place of the modifier of that slot."""
        return False

    def check_search(self, by_sets: bool) -> None:
        """Raises `InputError` where tau cannot be searched under it.

        Arguments:
            by_sets: whether whole sets are drawn and judged, in place of a criterion.
        """

    def ready(self, chosen: "Setting") -> Ready:
        """Reads what it needs, and makes sure that it fits the model."""
        raise NotImplementedError

    @property
    def parts(self) -> Sequence[str]:
        """Its settings in few words each, for the page of a report."""
        return (self.name.replace("_", " "),)


def find(entries: Mapping[str, type], name: str, what: str) -> type:
    """The entry of this name. Raises `InputError` that lists those that there are."""
    if name not in entries:
        raise InputError(f"unknown {what} {name!r}; it is one of {', '.join(entries)}")
    return entries[name]


def takers(entries: Mapping[str, type], option: str) -> list[str]:
    """The names of the entries that take an option."""
    return [name for name, entry in entries.items() if option in options_of(entry)]


def within(name: str, value: float, low: float, high: float) -> None:
    """Raises `InputError` for an option outside [low, high]."""
    if not low <= value <= high:
        raise InputError(f"{flag(name)} must lie in [{low:g}, {high:g}], got {value}")


def at_least(name: str, value: float | None, low: float) -> None:
    """Raises `InputError` for an option below `low`, or that is no number; None is fine."""
    if value is not None and not value >= low:
        raise InputError(f"{flag(name)} must be at least {low:g}, got {value}")


def required(option: Option) -> bool:
    """Whether an option has no default."""
    return option.default is MISSING
