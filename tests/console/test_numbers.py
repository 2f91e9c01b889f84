"""Every number of every program has bounds, and no program takes or works on an absurd one."""

import math
import re
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import tyro

from evaluate.__main__ import OPTIONS as EVALUATE
from jaxdiff._console.commands import parsed
from jaxdiff._programs.cache.__main__ import OPTIONS as CACHE
from jaxdiff._programs.demo.__main__ import OPTIONS as DEMO
from jaxdiff.bounds import Bounds, Count, Positive, Seed, Share, bounds_of, check_bounds, shortened
from jaxdiff.errors import InputError
from sample.__main__ import OPTIONS as SAMPLE
from train.__main__ import OPTIONS as TRAIN

REQUIRED = {"out": "nowhere.json", "model": "none", "source": "none", "data": "none", "sweep": "none", "horizon": "1"}
"""Values of options without defaults; any other is the text `x`."""
ABSURD = (10**20, -(10**20), 2**63, 10**400, -1, math.nan, math.inf, -math.inf, 1e300, -1e300)
"""Values that few options take."""
COMMANDS = {
    **{f"{p.name} {name}": p.options(name) for p in (TRAIN, SAMPLE, EVALUATE, CACHE) for name in p.commands},
    "demo": DEMO,
}


def numbers(kind, prefix=""):
    """Each option of a dataclass that takes numbers: its flag, int or float, how many, its bounds or None, whether hidden."""
    types = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        annotation, flag = types[field.name], f"--{prefix}{field.name}".replace("_", "-")
        if is_dataclass(annotation):
            yield from numbers(annotation, f"{field.name}.")
        elif kinds := {each for each in plain(annotation) if each in (int, float)}:
            bounds = bounds_of(kind).get(field.name)
            hidden = get_origin(annotation) is Annotated and tyro.conf.Suppress[int].__metadata__[0] in annotation.__metadata__
            yield flag, kinds.pop(), 2 if "tuple" in str(annotation) else 1, bounds and bounds[1], hidden


def plain(annotation):
    """The types within a type; texts of choices are none."""
    if get_origin(annotation) is not None and get_origin(annotation).__name__ == "Literal":
        return
    if get_origin(annotation) is Annotated:
        yield from plain(get_args(annotation)[0])
    elif get_args(annotation):
        for part in get_args(annotation):
            yield from plain(part)
    else:
        yield annotation


def required(kind):
    """The arguments that a command cannot do without."""
    types = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if field.default is MISSING:
            value = REQUIRED.get(field.name, "x")
            marks = getattr(types[field.name], "__metadata__", ())
            positional = tyro.conf.Positional[int].__metadata__[0] in marks
            yield from [value] if positional else [f"--{field.name.replace('_', '-')}", value]


def outcome(kind, arguments, capsys):
    """What a command answers: `accepted`, or its one line of error."""
    try:
        parsed(kind, "program", arguments)
    except InputError as error:
        return str(error)
    except SystemExit as exit:
        assert exit.code == 2
        return capsys.readouterr().err
    return "accepted"


CASES = {f"{name} {flag}": (kind, flag, *others) for name, kind in COMMANDS.items() for flag, *others in numbers(kind)}
SHARED = {(case.split()[0], flag, *others): case for case, (_, flag, *others) in CASES.items() if not others[-1]}
"""A case for each option that several commands of a program share, without hidden ones."""


def test_a_hundred_options_of_numbers_are_found():
    assert len(CASES) > 200 and len(SHARED) > 100
    assert {"train diffusion", "sample draw", "evaluate fairness", "demo"} <= COMMANDS.keys()


@pytest.mark.parametrize("case", CASES)
def test_every_number_has_bounds_which_its_command_checks(case):
    kind, flag, number, count, bounds, _ = CASES[case]
    assert bounds is not None
    *parents, name = flag[2:].replace("-", "_").split(".")
    for parent in parents:
        kind = get_type_hints(kind)[parent]
    given = {field.name: "x" for field in fields(kind) if field.default is MISSING}
    given = {each: Path(value) if get_type_hints(kind)[each] is Path else value for each, value in given.items()}
    for value in (each for each in ABSURD if type(each) is number and bounds.fault(each)):
        with pytest.raises(InputError) as raised:
            kind(**{**given, name: (value,) * count if count > 1 else value})
        assert name.replace("_", "-") in str(raised.value).replace("_", "-") and "\n" not in str(raised.value)
        assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "command, flag, given, takes",
    [
        ("sample draw", "--count", ["abc"], "a whole number, got 'abc'"),
        ("sample draw", "--count", ["1e20"], "a whole number, got '1e20'"),
        ("sample draw", "--batch-size", ["10^20"], "a whole number, got '10^20'"),
        ("train diffusion", "--learning-rate", ["fast"], "a number, got 'fast'"),
        ("sample draw", "--tau", ["0.3", "x"], "numbers, got 'x'"),
        ("sample sweep", "--batches", ["1", "2.5"], "whole numbers, got '2.5'"),
        ("train diffusion", "--range", ["0", "y"], "numbers, got 'y'"),
        ("train diffusion", "--phases", ["1", "z"], "numbers, got 'z'"),
    ],
)
def test_a_text_that_is_no_number_is_named_with_its_option(capsys, command, flag, given, takes):
    kind = COMMANDS[command]
    answer = " ".join(outcome(kind, [*required(kind), flag, *given], capsys).replace("│", " ").split())
    assert f"Error parsing {flag}: it takes {takes}" in answer
    assert "typing" not in answer and "Bounds" not in answer


@dataclass
class Typed:
    """A field of each kind."""

    count: Count = 1
    share: Share | None = None
    taus: tuple[Share, ...] = ()
    other: int = 0


@pytest.mark.parametrize(
    "given, message",
    [
        ({"count": True}, "`count` must be a whole number, got True"),
        ({"count": 1.0}, "`count` must be a whole number, got 1.0"),
        ({"count": None}, "`count` must be a whole number, got None"),
        ({"count": "5"}, "`count` must be a whole number, got '5'"),
        ({"share": [[0.5]]}, "`share` must be a number, got [[0.5]]"),
        ({"share": []}, "`share` must be a number, got []"),
        ({"share": 10**400}, "`share` must lie in [0, 1], got 1000"),
        ({"taus": (0.5, math.nan)}, "`taus` must lie in [0, 1], got nan"),
        ({"taus": (0.5, False)}, "`taus` must be a number, got False"),
        ({"taus": 0.5}, "`taus` must be a list of numbers, got 0.5"),
        ({"taus": ((0.5,),)}, "`taus` must be a list of numbers, got ((0.5,),)"),
    ],
)
def test_numbers_of_another_type_are_refused(given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check_bounds(Typed(**given))


def test_numbers_in_range_and_numpy_numbers_pass():
    check_bounds(Typed(count=np.int64(3), share=1, taus=(np.float32(0.5), 0)))


@pytest.mark.parametrize("case", SHARED.values())
def test_no_command_takes_an_absurd_number(case, capsys):
    kind, flag, number, count, *_ = CASES[case]
    value = str(10**20) if number is int else "nan"
    answer = outcome(kind, [*required(kind), flag, *[value] * count], capsys)
    assert flag in answer and len(answer) < 200 and "\n" not in answer


@pytest.mark.parametrize("value", ["nan", "", "five", "1e3", 5000 * "9"])
@pytest.mark.parametrize("case", ["demo --count", "evaluate likelihood --steps", "train import --timesteps"])
def test_what_is_no_number_is_refused_with_what_the_option_takes(case, value, capsys):
    kind, flag, *_ = CASES[case]
    answer = outcome(kind, [*required(kind), flag, value], capsys)
    assert f"{flag}: it takes a whole number, got" in " ".join(answer.split()) and len(answer) < 1500


@pytest.mark.parametrize(
    "bounds, value, fault",
    [
        (Count, 1, None), (Count, 0, "be at least 1"), (Count, 10**8, None), (Count, 10**8 + 1, "be at most 100,000,000"),
        (Count, 10**400, "be at most 100,000,000"), (Seed, 2**32 - 1, None), (Seed, 2**32, "be at most 4,294,967,295"),
        (Share, 0.0, None), (Share, 1.0, None), (Share, 1.0000001, "lie in [0, 1]"), (Share, math.nan, "lie in [0, 1]"),
        (Positive, 0.0, "be above 0"), (Positive, 5e-324, None), (Positive, math.inf, "be at most 3e+38"),
    ],
)  # fmt: skip
def test_bounds_are_exact_at_their_ends(bounds, value, fault):
    assert get_args(bounds)[1].fault(value) == fault


def test_ranges_without_an_end_and_with_infinity():
    assert Bounds(infinite=True).fault(math.inf) is None
    assert Bounds(infinite=True).fault(-math.inf) == Bounds().fault(math.nan) == "be a finite number"
    assert Bounds(above=-1, below=1).fault(-1) == Bounds(above=-1, below=1).fault(1) == "lie in (-1, 1)"


def test_long_values_are_shortened():
    assert shortened(10**18) == str(10**18)
    assert len(shortened("9" * 5000)) < 60
