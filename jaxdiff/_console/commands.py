"""The commands of a program: what each takes and does, imported when it is asked for.

A program's `--help` lists its commands; a command's own `--help` has its options. Neither imports what the work needs.
"""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import tyro

from jaxdiff._console.device import prepare
from jaxdiff._console.terminal import run
from jaxdiff._version import __version__
from jaxdiff.errors import InputError


def parsed(kind: type, spelled: str, arguments: list[str], *tables: str) -> Any:
    """The options that arguments give; ends the process where they ask for help, or with status 2 where they are wrong.

    Arguments:
        kind: the dataclass of the options, whose docstring is the help.
        spelled: the command as it is called.
        arguments: the arguments.
        tables: more for the help.
    """
    about = "\n\n".join([inspect.getdoc(kind) or "", *tables])
    return tyro.cli(kind, prog=spelled, args=arguments, description=about)


@dataclass(frozen=True)
class Command:
    """A command of a program.

    Arguments:
        about: what it does, in a line.
        options: the dataclass of its options, as MODULE:NAME of the program's package; the module imports nothing heavy.
        work: the function that takes them, as MODULE:NAME.
        tables: of what there is to choose from, for its `--help`.
    """

    about: str
    options: str
    work: str
    tables: Callable[[], str] | None = None


@dataclass(frozen=True)
class Program:
    """A program, which has commands.

    Arguments:
        name: its name.
        package: the package that it lies in, `__package__` of its `__main__`.
        about: what it does, in a line.
        commands: by name.
        default: the command that options alone are for, if any.
        training: whether it trains diffusion models, see `jaxdiff._console.device.prepare`.
    """

    name: str
    package: str
    about: str
    commands: Mapping[str, Command]
    default: str | None = None
    training: bool = False

    def start(self) -> None:
        """Runs the command that the arguments of this process name, in a process that is set up once they are understood."""
        run(lambda: self.main(partial(prepare, self.training)))

    def main(self, prepared: Callable[[], None] = lambda: None) -> None:
        """Runs the command that the arguments of this process name.

        Arguments:
            prepared: called between the options and the work, which is the first to import JAX.
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
            raise InputError(f"{self.spelled} has no command {first!r}; it takes one of {', '.join(self.commands)}")

    def options(self, name: str) -> type:
        """The dataclass of a command's options."""
        return self._load(self.commands[name].options)

    def help(self) -> str:
        """The commands, in a screenful."""
        width = max(map(len, self.commands))
        lines = [f"usage: {self.spelled} COMMAND [OPTIONS]", "", textwrap.fill(self.about, 80), "", "commands:"]
        lines += [f"  {name:<{width}}  {command.about}" for name, command in self.commands.items()]
        if self.default:
            lines += ["", f"Without a command the options are those of `{self.default}`."]
        return "\n".join([*lines, "", f"`{self.spelled} COMMAND --help` lists the options of a command."])

    @property
    def spelled(self) -> str:
        """The program as it was called: `jaxdiff NAME`, or `python -m NAME` in a checkout."""
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
