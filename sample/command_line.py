"""The command line, built from the registries of methods and modifiers.

The fields of a command (`options.Draw`, `Search`, `Sweep`, `attack_options.Attack` or `tune_options.Tune`) and the options of
methods and modifiers become the fields of one dataclass, which tyro parses. The parsed options are turned back into the command
with its method and modifiers; an option without the method or modifier that it belongs to is an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, make_dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.commands import HELP
from jaxdiff.choices import SOLVERS, SPACINGS, table
from jaxdiff.errors import InputError

from .attack_options import Attack
from .methods import METHODS
from .methods._table import NO_SEARCH
from .modifiers import MODIFIERS
from .options import Draw, Search, Sweep
from .registry import Entry, Modifier, Option, find, flag, options_of, required, supporting
from .tune_options import Tune

GUARDS = {name: modifier for name, modifier in MODIFIERS.items() if modifier.slot == "guard"}
STRUCTURED = ("method", "modifiers")
"""Fields of a command that are built from several options."""
WITH_METHOD = (Draw, Attack, Tune)
"""The commands that take a method."""
Command = TypeVar("Command", Draw, Search, Sweep, Attack, Tune)


def entries_of(command: type) -> dict[str, type[Entry]]:
    """The methods and modifiers whose options a command takes, by name."""
    return {**(METHODS if command in WITH_METHOD else {}), **MODIFIERS}


@cache
def options_on_line(command: type) -> Mapping[str, Option]:
    """All options of a command, its own first."""
    own = {name: option for name, option in options_of(command).items() if name not in STRUCTURED}
    chosen = {}
    if command in WITH_METHOD:
        choice = Literal[tuple(METHODS)]
        chosen["method"] = Option("method", choice, "vanilla", "How the labels condition sampling; see the table above.")
    guard = "Guidance away from unsafe images; see the table above. By default safe when --unsafe is given."
    chosen["guard"] = Option("guard", Literal[tuple(GUARDS)] | None, None, guard)
    for entry in entries_of(command).values():
        for name, option in options_of(entry).items():
            if name not in own and name not in chosen:
                names = supporting(entries_of(command), name)
                chosen[name] = option._replace(about=f"{', '.join(names)}: {option.about}")
    return {**own, **chosen}


@cache
def on_line(command: type) -> type:
    """The dataclass of all options of a command, for tyro. Its `command` attribute is the resulting command."""
    options = sorted(options_on_line(command).values(), key=lambda option: not required(option))
    parts = []
    for option in options:
        default = {} if required(option) else {"default": option.default}
        parts.append((option.name, option.type, field(**default, metadata={HELP: option.about})))

    def make(self: Any) -> None:
        CheckedOptions.__post_init__(self)
        object.__setattr__(self, "command", made(command, **vars(self)))

    space = {"__doc__": command.__doc__, "__post_init__": make}
    return make_dataclass(
        f"{command.__name__}Options", parts, namespace=space, bases=(CheckedOptions,), frozen=True, kw_only=True
    )


def made(command: type[Command], **given: Any) -> Command:
    """Builds a command from options; those that are not given have their defaults.

    Raises:
        InputError: an unknown option, method or guard, an option without its method or modifier, or options that cannot be
            combined.
    """
    known = options_on_line(command)
    if unknown := [name for name in given if name not in known]:
        raise InputError(f"unknown option {flag(unknown[0])}; {command.__name__.lower()} takes {', '.join(map(flag, known))}")
    options = {name: given.get(name, option.default) for name, option in known.items()}
    changed = [name for name, option in known.items() if not required(option) and options[name] != option.default]
    if options["guard"] is not None:
        find(GUARDS, options["guard"], "guard")
    enabled = [modifier for modifier in MODIFIERS.values() if modifier.enabled(options)]
    slots = [modifier.slot for modifier in enabled]
    on = [modifier for modifier in enabled if not (modifier.yields and slots.count(modifier.slot) > 1)]
    parts: dict[str, Any] = {}
    method = None
    if command in WITH_METHOD:
        method = find(METHODS, options["method"], "method")
        parts["method"] = _entry(method, options)
    own = options_of(command)
    for name in changed:
        if name not in own and name not in ("method", "guard"):
            _require_taken(command, name, options[name], method, on)
    parts["modifiers"] = tuple(_entry(modifier, options) for modifier in on)
    return command(**{name: options[name] for name in own if name not in STRUCTURED}, **parts)


def _entry(entry: type[Entry], options: Mapping[str, Any]) -> Any:
    return entry(**{name: options[name] for name in options_of(entry)})


def _require_taken(command: type, name: str, value: Any, method: type[Entry] | None, on: Sequence[type[Modifier]]) -> None:
    """Raises `InputError` for an option of a method or modifier that is not in use."""
    if any(name in options_of(entry) for entry in [*on, *([method] if method else [])]):
        return
    given = f"{flag(name)} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
    if by_method := supporting(METHODS, name) if command in WITH_METHOD else []:
        raise InputError(f"{flag(name)} is for --method {' and '.join(by_method)}, got {method.spelled()}: {given}")
    names = supporting(MODIFIERS, name)
    guards = [each for each in names if each in GUARDS]
    if guards and len(guards) < len(names):
        others = " or ".join(MODIFIERS[each].spelled() for each in names if each not in guards)
        raise InputError(f"{flag(name)} is for {others} or --guard {', '.join(guards)}, and none of them is given")
    guard = next((each for each in on if each.slot == "guard"), None)
    if guards and guard:
        raise InputError(f"{flag(name)} is for --guard {', '.join(guards)}, got {guard.spelled()}")
    if guards:
        raise InputError(f"{flag(name)} needs --unsafe or --guard, and neither is given")
    enabling = " or ".join(dict.fromkeys(flag(MODIFIERS[each].enabled_by) for each in names))
    raise InputError(f"{flag(name)} needs {enabling}, which enables {' or '.join(names)}; got {given} alone")


def elsewhere(command: type) -> Mapping[str, str]:
    """The options of methods that a command without methods does not take, and what to do instead."""
    known = options_on_line(command)
    names = dict.fromkeys(name for method in METHODS.values() for name in ("method", *options_of(method)))
    instead = {"fair_table": NO_SEARCH}
    return {flag(name): instead.get(name, "methods belong to `jaxdiff sample draw`") for name in names if name not in known}


def tables(command: type) -> str:
    """Tables of the methods, modifiers, guards, solvers and spacings, for the help of a command."""
    methods = {name: method.about for name, method in METHODS.items()} if command in WITH_METHOD else {}
    guards = {name: guard.about for name, guard in GUARDS.items()}
    others = {name: modifier.about for name, modifier in MODIFIERS.items() if name not in GUARDS}
    parts = {"Methods": methods, "Modifiers,_for_any_method": others, "Guards,_for_any_method": guards}
    return table(**{title: rows for title, rows in parts.items() if rows}, Solvers=SOLVERS, Spacings=SPACINGS)


def __getattr__(name: str) -> type:
    """The options of a command, such as `DrawOptions` of `Draw`, built on first use."""
    commands = {f"{command.__name__}Options": command for command in (Draw, Search, Sweep, Attack, Tune)}
    if name not in commands:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return on_line(commands[name])
