"""Types of numbers with bounds, for the fields of dataclasses, and the check of all of them in one place.

A field of a type such as `Count`, `Seed | None` or `tuple[Share, ...]` is checked by `check_bounds`. Upper limits keep absurd
numbers from memory and time; they lie far above what can be computed. This module imports neither JAX nor NumPy.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from jaxdiff.errors import InputError

LARGEST = 3e38
"""The limit of numbers that are computed with in float32."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The range of a number.

    Arguments:
        least, above: the lower end, part of the range or not; without either, -`limit`.
        most, below: the upper end, part of the range or not.
        limit: the number above which a value is absurd, where the range has no upper end.
        infinite: whether infinity is a value.
        undefined: whether NaN is a value.
    """

    least: int | float | None = None
    above: int | float | None = None
    most: int | float | None = None
    below: int | float | None = None
    limit: int | float = LARGEST
    infinite: bool = False
    undefined: bool = False

    def fault(self, value: Any) -> str | None:
        """What a number must be, where it is not; None for one in the range."""
        if value != value and self.undefined:
            return None
        low = next((end for end in (self.least, self.above) if end is not None), -self.limit)
        high = next((end for end in (self.most, self.below) if end is not None), math.inf)
        if not low <= value <= high or value in (self.above, self.below):
            return str(self)
        if value > self.limit and not (self.infinite and value == math.inf):
            return f"be at most {_text(self.limit)}"
        return None

    def __str__(self) -> str:
        low = f"({_text(self.above)}" if self.above is not None else f"[{_text(self.least)}" if self.least is not None else None
        high = f"{_text(self.below)})" if self.below is not None else f"{_text(self.most)}]" if self.most is not None else None
        if low and high:
            return f"lie in {low}, {high}"
        if high:
            return f"be {'at most' if self.most is not None else 'below'} {high[:-1]}"
        if low:
            return f"be {'at least' if self.least is not None else 'above'} {low[1:]}"
        return "be a finite number"


Count = Annotated[int, Bounds(least=1, limit=10**8)]
"""A number of images, or of other things of which there are many."""
Size = Annotated[int, Bounds(least=1, limit=10**6)]
"""Images in a batch, steps of a solver, devices: what takes memory at once."""
Devices = Annotated[int, Bounds(least=1, limit=2**14)]
"""A number of devices to simulate."""
Steps = Annotated[int, Bounds(least=1, limit=10**9)]
"""Steps of a training run."""
Timesteps = Annotated[int, Bounds(least=1, limit=10**6)]
"""A number of timesteps of a process."""
Seed = Annotated[int, Bounds(least=0, limit=2**32 - 1)]
"""A random seed: JAX uses the lower 32 bits."""
Finite = Annotated[float, Bounds()]
"""Any finite number."""
Positive = Annotated[float, Bounds(above=0)]
"""A finite number above 0."""
NonNegative = Annotated[float, Bounds(least=0)]
"""A finite number of at least 0."""
Unlimited = Annotated[float, Bounds(least=0, infinite=True)]
"""A number of at least 0, or infinity."""
Measured = Annotated[float, Bounds(least=-math.inf, infinite=True, undefined=True)]
"""A measured number, which may be infinite or undefined."""
Share = Annotated[float, Bounds(least=0, most=1)]
"""A share, a probability, or a time of the process."""


def check_bounds(instance: Any) -> None:
    """Checks the fields of a dataclass that have bounds, see `check_values`."""
    check_values(type(instance), vars(instance))


def check_values(owner: Any, values: Mapping[str, Any]) -> None:
    """Checks the type and the range of values for those fields of a dataclass that have bounds.

    None passes where the type has it, and a missing value is its default.

    Raises:
        InputError: a number is of another type, outside its range, NaN, or infinite where that is no value.
    """
    for name, (kind, bounds, optional, depths) in bounds_of(owner).items():
        value = values.get(name)
        if value is None and (optional or name not in values):
            continue
        for number, depth in _numbers(value, max(depths)):
            if depth not in depths:
                raise InputError(f"`{name}` must be {_list(kind, max(depths))}, got {shortened(value)}")
            if isinstance(number, bool) or not isinstance(number, Integral if kind is int else Real):
                raise InputError(f"`{name}` must be {_list(kind, 0)}, got {shortened(number)}")
            if fault := bounds.fault(number):
                raise InputError(f"`{name}` must {fault}, got {shortened(number)}")


@cache
def bounds_of(kind: Any) -> dict[str, tuple[Any, Bounds, bool, set[int]]]:
    """The fields of a dataclass that have bounds.

    Returns:
        For each by name: int or float, the bounds, whether None is a value, and how deep in lists the numbers may be.
    """
    types = get_type_hints(kind, include_extras=True)
    found = {}
    for field in fields(kind):
        if numbers := list(_bounded(types[field.name])):
            optional, depths = type(None) in get_args(types[field.name]), {depth for *_, depth in numbers}
            found[field.name] = *numbers[0][:2], optional, depths
    return found


def _bounded(annotation: Any, depth: int = 0) -> Iterator[tuple[Any, Bounds, int]]:
    """The bounded numbers in a type, and how many tuples each is in."""
    if get_origin(annotation) is Annotated:
        number, *others = get_args(annotation)
        yield from ((number, each, depth) for each in others if isinstance(each, Bounds))
        yield from _bounded(number, depth)
    else:
        for part in get_args(annotation):
            yield from _bounded(part, depth + (get_origin(annotation) is tuple))


def _numbers(value: Any, most: int, depth: int = 0) -> Iterator[tuple[Any, int]]:
    """All that is in lists nested at most so deep, and how many lists each is in: -1 for a list that is nested deeper."""
    if not isinstance(value, tuple | list):
        yield value, depth
    elif depth == most:
        yield value, -1
    else:
        for each in value:
            yield from _numbers(each, most, depth + 1)


def _list(kind: Any, depth: int) -> str:
    number = "whole number" if kind is int else "number"
    return f"a {number}" if depth == 0 else f"a list of {'lists of ' * (depth - 1)}{number}s"


def shortened(value: Any, most: int = 60) -> str:
    """A value for an error message, which may come from a hostile file: of at most some sixty characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 4 :]}"


def _text(number: int | float | None) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
