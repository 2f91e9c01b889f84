"""Shell completion of `jaxdiff`: its programs, their commands, and the options of each with their choices."""

from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from typing import Annotated, Any, Union

import tyro

from jaxdiff._console.commands import REGISTRY, Program

SHELLS = ("bash", "zsh", "fish")


def print_completion(shell: str, programs: Mapping[str, Program | type]) -> None:
    """Prints the completion script for a shell, and exits.

    Arguments:
        shell: one of `SHELLS`.
        programs: the programs by name; for a program without commands, the dataclass of its options.
    """
    kinds = [_named(name, _commands(each) if isinstance(each, Program) else each) for name, each in programs.items()]
    arguments = ["--tyro-print-completion", shell]
    tyro.cli(_any_of(kinds), prog="jaxdiff", args=arguments, config=(tyro.conf.OmitSubcommandPrefixes,), registry=REGISTRY)


def _commands(program: Program) -> type:
    """A program as a dataclass with one field, a union of its commands."""
    kinds = [_named(name, program.options(name)) for name in program.commands]
    command = Annotated[_any_of(kinds), tyro.conf.arg(name="")]  # ty: ignore[invalid-type-form]
    return make_dataclass(program.name, [("command", command)])


# Type checkers do not know types that are made at run time.
def _any_of(kinds: Sequence[Any]) -> Any:
    return Union[tuple(kinds)]  # noqa: UP007


def _named(name: str, kind: Any) -> Any:
    return Annotated[kind, tyro.conf.subcommand(name)]
