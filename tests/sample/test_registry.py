"""The registries: every method and modifier is complete, an option is defined once, and option errors need no JAX."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from jaxdiff._console.help_text import docstrings
from jaxdiff.errors import InputError
from sample.command_line import entries_of, made, on_line, options_on_line, tables
from sample.methods import METHODS
from sample.modifiers import MODIFIERS
from sample.options import SLOTS, Draw, Search, Sweep
from sample.registry import options_of

ENTRIES = {**METHODS, **MODIFIERS}
PLACE = {"model": Path("model"), "out": Path("out")}
HEAVY = ("jax", "flax", "scipy", "matplotlib", "numpy", "grain")


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_is_complete(name):
    entry = ENTRIES[name]
    assert entry.name == name and entry.about and entry.__doc__
    for option in options_of(entry).values():
        assert option.about.endswith("."), f"{name}: {option.name} has no docstring"
        assert option.default is not None or type(None) in get_args(option.type)
    if name in MODIFIERS:
        assert entry.slot in SLOTS
        assert entry.enabled_by in options_on_line(Draw)
    else:
        assert entry().example().parts is not None


@pytest.mark.parametrize("command", [Draw, Search, Sweep])
def test_an_option_has_one_definition(command):
    """Entries and commands that share an option inherit it from one class, so that no default and no text is written twice."""

    def definer(kind, option):
        return next(each for each in kind.__mro__ if option in vars(each).get("__annotations__", {}))

    found = {}
    for entry in entries_of(command).values():
        for option in options_of(entry):
            assert found.setdefault(option, definer(entry, option)) is definer(entry, option), option
    own = set(options_of(command)) - {"start"}
    shared = {option for option in own & set(found) if definer(command, option) is not found[option]}
    assert not shared, f"{command.__name__} defines options of methods or modifiers: {shared}"


def test_help_has_every_choice_and_option():
    shown = tables(Draw)
    assert all(f"  {name} " in shown and entry.about in shown for name, entry in ENTRIES.items())
    about = options_on_line(Draw)
    assert about["mixing"].about.startswith("mixing: ") and about["target"].about.startswith("score_mixing, fair_diffusion: ")
    assert all(option.about for option in about.values())
    assert not set(options_on_line(Search)) & {name for name in docstrings(METHODS["mixing"])}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": 0.5}, "--mixing is for --method mixing, got --method vanilla"),
        ({"target": (0.5, 0.5)}, "--target is for --method score_mixing and fair_diffusion, got --method vanilla"),
        ({"method": "mixing", "tau": (0.5,)}, "--tau is for --method switching and spectral, got --method mixing"),
        ({"method": "mixed"}, "unknown method 'mixed'; it is one of vanilla, unconditional, mixing"),
        ({"guard": "angel"}, "unknown guard 'angel'; it is one of safe, repellency"),
        ({"colour": "red"}, "unknown option --colour; draw takes --"),
        ({"strength": 0.5}, "--strength needs --unsafe or --guard, and neither is given"),
        ({"unsafe": "x", "radius": 1.0}, "--radius is for --guard repellency, got --guard safe"),
        ({"guard": "negative", "unsafe": "x"}, "--unsafe is for --guard safe, repellency, safety_flow, got --guard negative"),
        ({"guidance_scale": -1.0}, "--guidance-scale must be at least 0, got -1"),
        ({"method": "mixing", "mixing": 2.0}, "--mixing must lie in [0, 1], got 2"),
        ({"eta": 0.5}, "--eta is for --solver ddim, got --eta 0.5 with the default solver"),
        ({"devices": 2}, "--devices needs --dry-run, got --devices 2 without it"),
    ],
    ids=str,
)
def test_wrong_options_are_errors(options, message):
    with pytest.raises(InputError) as caught:
        made(Draw, **PLACE, **options)
    assert message in str(caught.value)


def test_options_make_the_command_that_they_describe():
    drawing = made(Draw, **PLACE, method="switching", tau=(0.5,), guidance_scale=2.0, unsafe="private", strength=0.5)
    assert (drawing.method.name, drawing.method.tau) == ("switching", (0.5,))
    assert [modifier.name for modifier in drawing.modifiers] == ["classifier_free", "safe"]
    assert drawing.scale == 2.0 and drawing.modifier("guard").strength == 0.5
    parsed = on_line(Draw)(**PLACE, method="switching", tau=(0.5,), guidance_scale=2.0, unsafe="private", strength=0.5)
    assert parsed.command == drawing


def run(*arguments: str) -> tuple[str, list[str], int]:
    """What a program prints, what of the heavy packages it imported, and its exit status."""
    code = (
        "import sys; sys.argv = ['jaxdiff sample', *sys.argv[1:]]; from sample.__main__ import start\n"
        f"try: start()\nfinally: print('IMPORTED', *[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    shown, _, imported = done.stdout.rpartition("IMPORTED")
    return shown + done.stderr, imported.split(), done.returncode


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["--help"], "draw    draw a set", 0),
        (["draw", "--help"], "score_mixing", 0),
        (["search", "--help"], "--objective", 0),
        (["sweep", "--help"], "--batches", 0),
        (["draw", "--model", "x", "--out", "y", "--mixing", "0.5"], "--mixing is for --method mixing", 2),
        (["draw", "--model", "x", "--out", "y", "--method", "mixed"], "mixed", 2),
        (["draw", "--model", "x", "--out", "y", "--guard", "angel"], "repellency", 2),
        (["search", "--model", "x", "--start", "none"], "--start none needs --objective", 2),
        (["wander"], "choose one of search, draw, tune, sweep", 2),
    ],
    ids=str,
)
def test_help_and_option_errors_import_no_arrays(arguments, message, status):
    shown, imported, code = run(*arguments)
    assert " ".join(message.split()) in " ".join(shown.replace("│", "").split())
    assert (imported, code) == ([], status)
    if arguments == ["--help"]:
        assert len(shown.splitlines()) < 24
