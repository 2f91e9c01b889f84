"""The `config.json` of a class of diffusers: every setting in it is read, known to have no effect, or refused by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.models.config import MOST_CHANNELS, MOST_LEVELS

EMA_SETTINGS = {"decay", "min_decay", "optimization_step", "update_after_step", "use_ema_warmup", "inv_gamma", "power"}
"""Settings that `EMAModel` of diffusers adds to the config.json of averaged weights; they do not affect the network."""


class Kind(NamedTuple):
    """The type of a setting.

    Attributes:
        words: what it is, in errors.
        holds: whether a value is of the type.
    """

    words: str
    holds: Callable[[Any], bool]


def few(most: int) -> Kind:
    """Whole numbers from 1."""
    return Kind(f"a whole number from 1 to {most:,}", lambda value: type(value) is int and 0 < value <= most)


def several(kind: Kind, words: str) -> Kind:
    """Lists of one for each level, described by `words`."""
    return Kind(
        f"a list of at most {MOST_LEVELS} {words}",
        lambda value: isinstance(value, list | tuple) and 0 < len(value) <= MOST_LEVELS and all(map(kind.holds, value)),
    )


def optional(kind: Kind) -> Kind:
    """A type whose values may be absent."""
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.holds(value))


def either(one: Kind, other: Kind) -> Kind:
    """The values of two types."""
    return Kind(f"{one.words}, or {other.words}", lambda value: one.holds(value) or other.holds(value))


WIDTH = few(MOST_CHANNELS)
WIDTHS = several(WIDTH, f"whole numbers from 1 to {MOST_CHANNELS:,}")
NUMBER = Kind("a finite number", lambda value: type(value) in (int, float) and abs(value) < 1e30)
SWITCH = Kind("true or false", lambda value: type(value) is bool)
NAMES = several(Kind("a name", lambda value: type(value) is str), "names")


@dataclass(frozen=True)
class Described:
    """What is read of the settings of a class.

    Attributes:
        name: the class.
        ours: what takes its place here, in errors.
        defaults: its settings, with the values that they have where a file has none.
        fixed: those for which only some values are supported, and these.
        free: the types of the others.
        idle: those that do not affect the network.
    """

    name: str
    ours: str
    defaults: Mapping[str, Any]
    fixed: Mapping[str, tuple[Any, ...]]
    free: Mapping[str, Kind]
    idle: frozenset[str] = frozenset()

    def completed(self, given: Mapping[str, Any], file: str) -> dict[str, Any]:
        """All settings, each checked by itself.

        Arguments:
            given: the content of the `config.json`.
            file: its name in errors.

        Raises:
            InputError: it is of another class, or has a setting that is not supported, which is named.
        """
        kind = given.get("_class_name", self.name)
        if kind != self.name:
            there = kind if isinstance(kind, str) else shortened(kind)
            raise InputError(f"{file} describes a {there}; jaxdiff reads {self.name}")
        public = {key: value for key, value in given.items() if not key.startswith("_") and key not in EMA_SETTINGS}
        if unknown := sorted(public.keys() - self.defaults.keys() - self.idle):
            raise InputError(f"{file} has settings that {self.name} lacks: {', '.join(unknown)}")
        settings = {**self.defaults, **public}
        for key, values in self.fixed.items():
            if settings[key] not in values:
                taken = " or ".join(map(repr, values))
                raise InputError(f"{file}: {key} is {shortened(settings[key])}; {self.ours} takes {taken}")
        for key, kind in self.free.items():
            if not kind.holds(settings[key]):
                raise InputError(f"{file}: {key} must be {kind.words}, got {shortened(settings[key])}")
        return settings


def require_levels(settings: Mapping[str, Any], file: str) -> None:
    """Raises `InputError` unless there is a block for each of `block_out_channels`, down and up."""
    levels = len(settings["block_out_channels"])
    for key in ("down_block_types", "up_block_types"):
        if len(settings[key]) != levels:
            raise InputError(f"{file}: {key} has {len(settings[key])} blocks, block_out_channels {levels}")


def require_divided(settings: Mapping[str, Any], file: str) -> None:
    """Raises `InputError` unless the groups of group norms divide all channels."""
    widths = settings["block_out_channels"]
    if any(width % settings["norm_num_groups"] for width in widths):
        raise InputError(f"{file}: norm_num_groups {settings['norm_num_groups']} does not divide block_out_channels {widths}")
