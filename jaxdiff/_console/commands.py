"""Programs and their commands, whose options and work are imported only when needed.

A program's `--help` lists its commands; a command's own `--help` lists its options. Neither imports what the work needs.
"""

import importlib
import inspect
import io
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache, partial
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from jaxdiff._console.arguments import named_as_typed
from jaxdiff._console.device import prepare
from jaxdiff._console.help_text import docstrings, wrapped
from jaxdiff._console.terminal import start
from jaxdiff._version import __version__
from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError

HELP = "help"
"""Metadata of a field of options that gives its help text instead of its docstring."""
REGISTRY = tyro.constructors.ConstructorRegistry()
"""How tyro builds options: their help text comes from `docstrings`, and an `InputError` passes through it."""
_ABOUT = "{about}"  # stands for the text about a command until tyro has laid out its help


class _WrongOptions(Exception):
    """An `InputError` of a dataclass of options. It is no `ValueError`, which tyro would print in a box."""

    def __init__(self, kind: type, message: str):
        super().__init__(message)
        self.kind = kind


@REGISTRY.struct_rule
def _options(info: tyro.constructors.StructTypeInfo) -> tyro.constructors.StructConstructorSpec | None:
    kind = info.type
    if not is_dataclass(kind) or getattr(kind, "__parameters__", ()):  # tyro has generic ones of its own
        return None

    def make(**given: Any) -> Any:
        try:
            return kind(**given)
        except InputError as error:
            raise _WrongOptions(kind, str(error)) from error

    types = get_type_hints(kind, include_extras=True)
    specs = []
    for field in sorted(fields(kind), key=lambda field: field.default is not MISSING):  # the required ones first
        default = tyro.MISSING if field.default is MISSING else field.default
        about = field.metadata.get(HELP) or partial(_docstring, kind, field.name)
        specs.append(tyro.constructors.StructFieldSpec(field.name, types[field.name], default, about))
    return tyro.constructors.StructConstructorSpec(make, tuple(specs))


@REGISTRY.primitive_rule
def _numbers(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """Numbers, or several of them, optional or not: tyro's own rules explain a text that is none by the types in Python."""
    found = _number_type(info.type)
    return found and _number_constructor(*found)


@cache  # of few kinds, and asked for at every option of every command
def _number_constructor(kind: type, count: int | Literal["*"] | None) -> tyro.constructors.PrimitiveConstructorSpec:
    what = "whole number" if kind is int else "number"
    what = f"a {what}" if count is None else f"{what}s"

    def parse_one(given: str) -> int | float:
        try:
            return kind(given)
        except ValueError as error:
            raise ValueError(f"it takes {what}, got {shortened(given)}") from error

    def parse(given: list[str]) -> Any:
        return parse_one(given[0]) if count is None else tuple(map(parse_one, given))

    def written(value: Any) -> list[str]:
        return [str(value)] if count is None or value is None else [str(each) for each in value]

    one = kind.__name__.upper()
    metavar = f"[{one} [{one} ...]]" if count == "*" else " ".join([one] * (count or 1))
    return tyro.constructors.PrimitiveConstructorSpec(count or 1, metavar, parse, lambda _: True, written)


def _number_type(annotation: Any) -> tuple[type, int | Literal["*"] | None] | None:
    """Which number a type is of, and how many: None for one that is in no tuple. None for any other type."""
    if annotation in (int, float):
        return annotation, None
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _number_type(arguments[0])
    if len(arguments) == 2 and NoneType in arguments:
        return _number_type(next(each for each in arguments if each is not NoneType))
    if get_origin(annotation) is tuple and arguments:
        found = [_number_type(each) for each in arguments if each is not Ellipsis]
        if found[0] is not None and found[0][1] is None and found == found[:1] * len(found):
            return found[0][0], "*" if Ellipsis in arguments else len(found)
    return None


def _docstring(kind: type, name: str) -> str | None:
    return docstrings(kind).get(name)


class _Held(io.StringIO):
    """Holds printed text, in the encoding and colours of the standard output that it replaces."""

    def __init__(self, replaced: Any):
        super().__init__()
        self._replaced = replaced

    @property
    def encoding(self) -> str:  # ty: ignore[incompatible-property-override]
        return self._replaced.encoding

    def isatty(self) -> bool:
        return self._replaced.isatty()


def parsed(kind: Any, spelled: str, arguments: list[str], *tables: str) -> Any:
    """Parses command-line arguments; exits after `--help`, or with status 2 if tyro cannot parse them.

    Arguments:
        kind: the dataclass of the options, whose docstring is the help text.
        spelled: the command as called.
        arguments: the arguments.
        tables: tables of choices for the help text.

    Raises:
        InputError: the options refuse their values.
    """
    held = _Held(sys.stdout)
    try:
        with redirect_stdout(held):
            return tyro.cli(kind, prog=spelled, args=arguments, description=_ABOUT, registry=REGISTRY)
    except _WrongOptions as wrong:
        prefix = "".join(f"{field.name}." for field in fields(kind) if field.type is wrong.kind)
        with named_as_typed(wrong.kind, prefix):
            raise InputError(str(wrong)) from None
    except SystemExit:
        print(held.getvalue().replace(_ABOUT, wrapped(inspect.getdoc(kind) or "", *tables), 1), end="")
        raise


@dataclass(frozen=True)
class Command:
    """A command of a program.

    Arguments:
        about: a one-line description.
        options: the dataclass of its options, as MODULE:NAME in the program's package; the module must be fast to import.
        work: the function that runs it with these options, as MODULE:NAME.
        tables: tables of choices for its `--help`.
        elsewhere: options of other commands that users may expect here, and what to do instead.
        trains_series: see `jaxdiff._console.device.prepare`.
    """

    about: str
    options: str
    work: str
    tables: Callable[[], str] | None = None
    elsewhere: Callable[[], Mapping[str, str]] = dict
    trains_series: bool = False


@dataclass(frozen=True)
class Program:
    """A program with commands.

    Arguments:
        name: its name.
        package: its package, `__package__` of its `__main__`.
        about: a one-line description.
        commands: the commands by name.
        default: the command to run if none is named, if any.
    """

    name: str
    package: str
    about: str
    commands: Mapping[str, Command]
    default: str | None = None

    def start(self) -> None:
        """Runs the command named by the arguments of this process, which is set up for JAX once they are parsed."""
        start(lambda: self.main(prepare))

    def main(self, prepared: Callable[[bool], None] = lambda trains_series: None) -> None:
        """Runs the command named by the arguments of this process.

        Arguments:
            prepared: called after parsing and before the work, which is the first to import JAX, with the command's
                `trains_series`.
        """
        first, *rest = sys.argv[1:] or ["--help"]
        if first in ("-h", "--help"):
            print(self.help())
        elif first == "--version":
            print(__version__)
        elif first in self.commands:
            self._call(first, rest, prepared)
        elif self.default and first.startswith("-"):
            self._call(self.default, [first, *rest], prepared)
        else:
            raise InputError(f"{self.spelled} has no command {first!r}; choose one of {', '.join(self.commands)}")

    def options(self, name: str) -> type:
        """The dataclass of a command's options."""
        return self._load(self.commands[name].options)

    def help(self) -> str:
        """The list of commands."""
        width = max(map(len, self.commands))
        lines = [f"usage: {self.spelled} COMMAND [OPTIONS]", "", textwrap.fill(self.about, 80), "", "commands:"]
        lines += [f"  {name:<{width}}  {command.about}" for name, command in self.commands.items()]
        if self.default:
            lines += ["", f"If no command is given, `{self.default}` is run."]
        return "\n".join([*lines, "", f"`{self.spelled} COMMAND --help` lists the options of a command."])

    @property
    def spelled(self) -> str:
        """The program as called: `jaxdiff NAME`, or `python -m NAME` in a checkout."""
        called = f"jaxdiff {self.name}"
        return called if sys.argv[0] == called else f"python -m {self.name}"

    def _call(self, name: str, arguments: list[str], prepared: Callable[[bool], None]) -> None:
        command, kind = self.commands[name], self.options(name)
        tables = [command.tables()] if command.tables else []
        for option, reason in command.elsewhere().items():
            if any(argument.partition("=")[0] == option for argument in arguments):
                raise InputError(f"{option} is no option of `{self.spelled} {name}`: {reason}")
        options = parsed(kind, f"{self.spelled} {name}", arguments, *tables)
        prepared(command.trains_series)
        work = self._load(command.work)
        with named_as_typed(options):
            work(options)

    def _load(self, place: str) -> Any:
        module, name = place.split(":")
        return getattr(importlib.import_module(f"{self.package}.{module}"), name)
