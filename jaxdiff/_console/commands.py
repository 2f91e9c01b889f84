"""Programs and their commands, whose options and work are imported only when needed.

A program's `--help` lists its commands; a command's own `--help` lists its options. Neither imports what the work needs.
"""

import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import Annotated, Any

import docstring_parser
import tyro

from jaxdiff._console.device import prepare
from jaxdiff._console.terminal import run
from jaxdiff._version import __version__
from jaxdiff.errors import InputError


def parsed(kind: type, spelled: str, arguments: list[str], *tables: str) -> Any:
    """Parses command-line arguments; exits after `--help`, or with status 2 if they are wrong.

    Arguments:
        kind: the dataclass of the options, whose docstring is the help text.
        spelled: the command as called.
        arguments: the arguments.
        tables: further help text.
    """
    about = "\n\n".join([inspect.getdoc(kind) or "", *tables])
    _join_lines(kind)
    with _own_errors(kind):
        # tyro prints two blank lines where an indented line follows a blank one
        return tyro.cli(kind, prog=spelled, args=arguments, description=re.sub(r"\n\n(?= )", "\n", about))


class _WrongOptions(BaseException):
    """An `InputError` of the options' own checks, which tyro would print in a box if it were a `ValueError`."""


@contextmanager
def _own_errors(kind: Any) -> Generator[None, None, None]:
    """Raises an `InputError` of `kind.__post_init__` unchanged while options are parsed."""
    own, check = vars(kind).get("__post_init__"), getattr(kind, "__post_init__", lambda options: None)

    def checked(options: Any) -> None:
        try:
            check(options)
        except InputError as error:
            raise _WrongOptions(error) from None

    kind.__post_init__ = checked
    try:
        yield
    except _WrongOptions as wrong:
        raise wrong.args[0] from None
    finally:
        if own is None:
            del kind.__post_init__
        else:
            kind.__post_init__ = own


def _join_lines(kind: type) -> None:
    """Makes each field's docstring one paragraph: tyro keeps the line breaks of indented docstrings."""
    for owner in filter(is_dataclass, kind.__mro__):
        hints = owner.__dict__.get("__annotations__", {})
        for parameter in docstring_parser.parse_from_object(owner).params:
            name, text = parameter.arg_name, parameter.description
            if name in hints and text and "\n" in text:
                hints[name] = Annotated[hints[name], tyro.conf.arg(help=" ".join(text.split()))]  # ty: ignore[invalid-type-form]


@dataclass(frozen=True)
class Command:
    """A command of a program.

    Arguments:
        about: a one-line description.
        options: the dataclass of its options, as MODULE:NAME in the program's package; the module must be fast to import.
        work: the function that runs it with these options, as MODULE:NAME.
        tables: tables of choices for its `--help`.
    """

    about: str
    options: str
    work: str
    tables: Callable[[], str] | None = None


@dataclass(frozen=True)
class Program:
    """A program with commands.

    Arguments:
        name: its name.
        package: its package, `__package__` of its `__main__`.
        about: a one-line description.
        commands: the commands by name.
        default: the command to run if none is named, if any.
        training: whether it trains diffusion models, see `jaxdiff._console.device.prepare`.
    """

    name: str
    package: str
    about: str
    commands: Mapping[str, Command]
    default: str | None = None
    training: bool = False

    def start(self) -> None:
        """Runs the command named by the arguments of this process, which is set up for JAX once they are parsed."""
        run(lambda: self.main(partial(prepare, self.training)))

    def main(self, prepared: Callable[[], None] = lambda: None) -> None:
        """Runs the command named by the arguments of this process.

        Arguments:
            prepared: called after parsing and before the work, which is the first to import JAX.
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

    def _call(self, name: str, arguments: list[str], prepared: Callable[[], None]) -> None:
        command, kind = self.commands[name], self.options(name)
        tables = [command.tables()] if command.tables else []
        options = parsed(kind, f"{self.spelled} {name}", arguments, *tables)
        prepared()
        self._load(command.work)(options)

    def _load(self, place: str) -> Any:
        module, name = place.split(":")
        return getattr(importlib.import_module(f"{self.package}.{module}"), name)
