"""`jaxdiff sample tune`: chooses the settings of a method by evaluating a set drawn with each."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError
from jaxdiff.fairness.tradeoff import OBJECTIVES, TradeOff, choose_trade_off
from jaxdiff.writing import write_text

from .command_line import made, options_on_line
from .draw import draw
from .objective import as_json, classifiers_for, measured_sets, table_of
from .options import Draw
from .registry import flag, required
from .setting import setting
from .tune_options import Tune

OWN = ("out", "count", "seed", "batch_size")
"""Options of `draw` that are not part of a setting."""


def tune(parsed: Any) -> TradeOff:
    """Draws and measures a set of each setting, prints the best, and measures it again on other noise.

    Arguments:
        parsed: all options by name, with the command, a `Tune`, as its `command`.
    """
    options: Tune = parsed.command
    given = {name: getattr(parsed, name) for name in options_on_line(Draw) if hasattr(parsed, name)}
    tries = settings(options, given)
    out = options.out / "tuning.json"
    with kept_parts(out) as finished:
        chosen = setting(
            options.model, options.attribute, options.values, options, method=options.method, start=options.method.start
        )
        classifiers, spec = classifiers_for(options, chosen, finished)
        folders = {name: _drawn(each) for name, each in tries.items()}
        measured = measured_sets(folders, classifiers, options, chosen, finished)
        console.print(table_of(measured, f"{options.method.name}, {options.count} images of seed {options.seed}", "setting"))
        best = choose_trade_off(measured, objective=options.objective, retain=options.retain)
        name = str(best.setting)
        again = replace(tries[name], out=options.out / "sets" / "again", seed=_other(options.seed))
        (held_out,) = measured_sets({name: _drawn(again)}, classifiers, options, chosen, finished)
        console.print(table_of([held_out], f"the best, of seed {again.seed}", "setting"))
        command = _command(tries[name], {**given, **dict(_changes(options, given)[name])})
        content = {
            "objective": options.objective, "retain": options.retain, "best": name, "command": command,
            "measured": [as_json(each) for each in measured], "held_out": as_json(held_out), "reference": spec,
            "count": options.count, "seed": options.seed, "held_out_seed": again.seed, "context": chosen.context(),
        }  # fmt: skip
        write_once(out, lambda: _write(out, content, measured, held_out, options))
    console.print(f"written: {out} and tuning.png; to draw with the best:", highlight=False)
    console.print(command, highlight=False, soft_wrap=True)
    return best


def settings(options: Tune, given: Mapping[str, Any]) -> dict[str, Draw]:
    """What to draw for each combination, by its name.

    Arguments:
        options: the command.
        given: the options of `draw` by name.

    Raises:
        InputError: an item of --vary is no option that is a number, has a value twice or one that is not allowed.
    """
    common = {"count": options.count, "seed": options.seed, "batch_size": options.batch_size}
    made_of = {}
    for name, changes in _changes(options, given).items():
        folder = options.out / "sets" / name.replace(", ", "-").replace("=", "-")
        made_of[name] = made(Draw, **{**given, **dict(changes), **common, "out": folder})
    return made_of


def _changes(options: Tune, given: Mapping[str, Any]) -> dict[str, tuple[tuple[str, Any], ...]]:
    """The options that each combination changes, by its name."""
    names = [item.partition("=")[0].strip().lstrip("-").replace("-", "_") for item in options.vary]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--vary takes each option once, got {flag(twice[0])[2:]} twice")
    columns = [_values(name, item) for name, item in zip(names, options.vary, strict=True)]
    found = {}
    for row in product(*columns):
        label = ", ".join(f"{flag(name)[2:]}={text}" for name, (text, _) in zip(names, row, strict=True))
        found[label] = tuple((name, value) for name, (_, value) in zip(names, row, strict=True))
    return found


def _values(name: str, item: str) -> list[tuple[str, Any]]:
    """The values of an item of --vary, as texts and as values."""
    known = options_on_line(Draw)
    make = _number(known[name].type) if name in known and name not in OWN else None
    texts = [text.strip() for text in item.partition("=")[2].split(",")]
    if make is None:
        numbers = ", ".join(flag(each)[2:] for each, option in known.items() if each not in OWN and _number(option.type))
        raise InputError(f"--vary takes options that are numbers, NAME=VALUE,VALUE,...: {numbers}; got {item}")
    try:
        values = [make(text) for text in texts]
    except ValueError as error:
        raise InputError(f"--vary takes numbers joined by commas, such as guidance-scale=1,2,3; got {item}") from error
    if len(set(values)) < len(values):
        raise InputError(f"--vary takes each value once, got {item}")
    return list(zip(texts, values, strict=True))


def _number(kind: Any) -> Callable[[str], Any] | None:
    """What makes a value of an option's type from a text; None if it is not a number or a row of numbers of any length."""
    arguments = get_args(kind)
    match get_origin(kind):
        case None:
            return kind if kind in (float, int) else None
        case origin if origin is Annotated:
            return _number(arguments[0])
        case origin if origin in (Union, UnionType):
            kinds = [each for each in arguments if each is not type(None)]
            return _number(kinds[0]) if len(kinds) == 1 else None
        case origin if origin is tuple and arguments[-1] is Ellipsis:
            one = _number(arguments[0])
            return one and (lambda text: (one(text),))
        case _:
            return None


def _drawn(options: Draw) -> Path:
    """The folder of the one set of a setting."""
    folders = draw(options)
    if len(folders) != 1:
        raise InputError(
            f"`jaxdiff sample tune` takes one set for each setting, and these options draw {len(folders)}; use --vary"
        )
    return folders[0]


def _other(seed: int) -> int:
    """The seed of other noise: the next one, or that before the largest."""
    return seed + 1 if seed < 2**32 - 1 else seed - 1


def _command(options: Draw, given: Mapping[str, Any]) -> str:
    """The command that draws with a setting."""
    words = ["jaxdiff", "sample", "draw"]
    for name, option in options_on_line(Draw).items():
        value = given.get(name)
        if name in OWN or value is None or (not required(option) and value == option.default):
            continue
        texts = [
            f"{each:g}" if isinstance(each, float) else str(each) for each in (value if isinstance(value, tuple) else (value,))
        ]
        words += [flag(name)] if value is True else [flag(name), *texts]
    return shlex.join([*words, "--out", str(options.out.parent.parent / "drawn")])


def _write(out: Path, content: Mapping[str, Any], measured: Sequence[TradeOff], held_out: TradeOff, options: Tune) -> None:
    write_text(out, json.dumps(content, indent=2) + "\n")
    rows = [(str(each.setting), each.retention, getattr(each, OBJECTIVES[options.objective])) for each in measured]
    again = (f"{held_out.setting}, other noise", held_out.retention, getattr(held_out, OBJECTIVES[options.objective]))
    words = "largest difference of other attributes" if options.objective == "parity" else "dependence, %"
    plots.settings(out.with_suffix(".png"), rows, again, options.retain, words, options.method.name)
