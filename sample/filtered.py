"""Conditions with a filtered form, which images start with: the form in which a filter of prompts hands them to the nest."""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Filtered(NamedTuple):
    """A condition with its filtered form. It stands in a method's condition wherever that has the condition of a label.

    Attributes:
        filtered: the condition that images start with, leaves of leading axis B.
        original: the condition that they go on with, in the same structure.
        at: the time of the transition, (B,); from 1 on there is none.
    """

    filtered: Any
    original: Any
    at: Any


def pair(condition: Any) -> tuple[Any, Any]:
    """A method's condition with all of its filtered forms, and with all originals: the pair that switching takes."""
    return _each(lambda found: found.filtered, condition), _each(lambda found: found.original, condition)


def transition(condition: Any) -> Any:
    """The time at which images go on with the originals, (B,): where several conditions are filtered, the last of theirs."""
    found = [each.at for each in jax.tree.leaves(condition, is_leaf=_is_filtered) if _is_filtered(each)]
    return reduce(jnp.minimum, found)


def _each(part: Callable[[Filtered], Any], condition: Any) -> Any:
    return jax.tree.map(lambda each: part(each) if _is_filtered(each) else each, condition, is_leaf=_is_filtered)


def _is_filtered(value: Any) -> bool:
    return isinstance(value, Filtered)
