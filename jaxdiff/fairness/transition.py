"""Transition points found by a search, with the context in which they hold."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np

from jaxdiff.boundary import parse_json, reading
from jaxdiff.bounds import Bounds, Measured, Share, Unlimited, bounds_of, check_values
from jaxdiff.errors import InputError
from jaxdiff.process import Process

Total = Annotated[int, Bounds(least=0, limit=10**12)]
"""A number of evaluations, samples or timesteps."""


@dataclass(frozen=True, kw_only=True)
class SearchResult(ABC):
    """The result of a search for transition points; it is stored as JSON and holds in its context only.

    Attributes:
        mode: the method of the search, e.g. `direct/pixel`.
        evaluations: network evaluations per noise sample.
        batch: noise samples.
        context: process, solver, guidance scale, attribute, values and model of the search.
    """

    mode: str
    evaluations: Total
    batch: Total
    context: dict[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def summary(self) -> str:
        """The transition points as text."""

    def to_json(self) -> str:
        """The result as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SearchResult":
        """The inverse of `to_json`. Raises `InputError` where the text is not such a result."""
        what = f"a {cls.__name__} of `sample search`"
        with reading(what):
            given = parse_json(text, what)
            check_values(cls, given)
            if not isinstance(given["mode"], str) or not isinstance(given.get("context", {}), dict):
                raise InputError("`mode` must be a text, and `context` an object")
            json.loads(json.dumps(given.get("context", {})), parse_constant=_no_nan)
            floats = {name for name, (kind, *_) in bounds_of(cls).items() if kind is float}
            return cls(**{name: _floats(value) if name in floats else value for name, value in given.items()})

    def require(self, context: Mapping[str, Any]) -> None:
        """Raises `InputError` that names the first thing in which `context` differs from the one that it was found in."""
        # what changed the denoiser of the search alone, too
        for name, value in {"guard": None, "modifiers": None, **context}.items():
            found = self.context.get(name)
            if found != value:
                raise InputError(
                    f"{self.summary} was found for {name} {_text(found)}, and this is {name} {_text(value)}: search again"
                )


@dataclass(frozen=True, kw_only=True)
class Transition(SearchResult):
    """One transition point tau for all values.

    Attributes:
        tau: the point on the process's time axis, in [0, 1]: a switched sample has its end condition where t <= tau.
        timestep: tau in discrete timesteps, tau T.
        snr: the signal-to-noise ratio at tau; None at tau = 0, where there is no noise.
        taus: the times at which the criterion was evaluated, ascending.
        curve: the values of the criterion at `taus`.
        residual: the criterion at tau relative to that at 0: 0 if it vanishes, 1 if tau is no better than not switching. For a
            search by objective relative to that at the largest time, which is closest to not switching.
    """

    tau: Share
    timestep: Total
    snr: Unlimited | None
    taus: tuple[Share, ...]
    curve: tuple[Measured, ...]
    residual: Measured

    def __post_init__(self):
        if len(self.taus) != len(self.curve):
            raise InputError(f"`curve` must have a value at each of `taus`, got {len(self.curve)} at {len(self.taus)}")

    @property
    def summary(self) -> str:
        """tau as text."""
        return f"tau={self.tau:.3f}"


@dataclass(frozen=True, kw_only=True)
class PairTransitions(SearchResult):
    """A transition point for every pair of values, the same in both directions.

    Attributes:
        tau: the point of each pair (K, K), symmetric, 1 on the diagonal, where nothing is switched.
        residual: as in `Transition`, of each pair (K, K), 1 on the diagonal.
    """

    tau: tuple[tuple[Share, ...], ...]
    residual: tuple[tuple[Measured, ...], ...]

    def __post_init__(self):
        for name in ("tau", "residual"):
            table = getattr(self, name)
            if len(table) < 2 or any(len(row) != len(self.tau) for row in table):
                raise InputError(f"`{name}` must have a row and a column for each of two or more values")

    @property
    def summary(self) -> str:
        """The range of the points as text."""
        taus = [tau for i, row in enumerate(self.tau) for tau in row[:i]]
        return f"tau={min(taus):.3f} to {max(taus):.3f}"


def _no_nan(text: str) -> float:
    """Infinity in a context; NaN is refused."""
    if text == "NaN":
        raise InputError("`context` has NaN in it, which no context equals")
    return float(text)


def pair_transitions(found: Mapping[tuple[int, int], Transition], *, values: int, context: dict[str, Any]) -> PairTransitions:
    """Combines the results of the searches of single pairs.

    Arguments:
        found: the result for each pair of positions (a, b), a < b < K.
        values: K.
        context: of the combined result.
    """
    tables = {}
    for name in ("tau", "residual"):
        table = np.ones((values, values))
        for (a, b), each in found.items():
            table[a, b] = table[b, a] = getattr(each, name)
        tables[name] = _tuples(table.tolist())
    first = next(iter(found.values()))
    evaluations = sum(each.evaluations for each in found.values())
    return PairTransitions(mode=first.mode, evaluations=evaluations, batch=first.batch, context=context, **tables)


def time_fields(process: Process, tau: float) -> dict[str, Any]:
    """The fields `tau`, `timestep` and `snr` of a `Transition` at a time."""
    snr = float(process.snr(np.float32(tau)))
    return {"tau": tau, "timestep": round(tau * process.timesteps), "snr": snr if np.isfinite(snr) else None}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else str(value)


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_floats, value))
    return value if value is None else float(value)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
