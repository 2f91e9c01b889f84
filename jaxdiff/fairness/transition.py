"""Transition points, with the context that they belong to."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jaxdiff.errors import InputError
from jaxdiff.process import Process


@dataclass(frozen=True, kw_only=True)
class Found(ABC):
    """What a search found; it is kept as JSON, and holds in its context alone.

    Attributes:
        mode: how it was found, e.g. `direct/pixel`.
        evaluations: network evaluations spent per noise sample.
        batch: noise samples.
        context: what it is tied to: process, solver, guidance scale, attribute, values, model.
    """

    mode: str
    evaluations: int
    batch: int
    context: dict[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def told(self) -> str:
        """The transition points in words."""

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Found":
        """The inverse of `to_json`. Raises `InputError` where the text is no such result."""
        try:
            told = json.loads(text)
            return cls(**{name: value if name == "context" else _tuples(value) for name, value in told.items()})
        except (json.JSONDecodeError, AttributeError, TypeError) as error:
            raise InputError(f"not a {cls.__name__} as `sample search` writes it: {error}") from error

    def require(self, context: Mapping[str, Any]) -> None:
        """Raises `InputError` that names the first thing in which `context` differs from the one that it was found in."""
        # what changed the denoiser of the search alone, too
        for name, value in {"guard": None, "modifiers": None, **context}.items():
            found = self.context.get(name)
            if found != value:
                raise InputError(
                    f"{self.told} was found for {name} {_told(found)}, and this is {name} {_told(value)}: search again"
                )


@dataclass(frozen=True, kw_only=True)
class Transition(Found):
    """One transition point tau for all values.

    Attributes:
        tau: the point on the process's time axis, in [0, 1]: a switched sample is under its end condition where t <= tau.
        timestep: tau in discrete timesteps, tau T.
        snr: the signal-to-noise ratio at tau; None at tau = 0, where there is no noise.
        taus: the times at which the criterion was evaluated, ascending.
        curve: the criterion there.
        residual: its value at tau over that at 0: 0 is a condition exactly solved, 1 is no better than not switching. Of a
            search by objective over that at the largest time, which is nearest to not switching.
    """

    tau: float
    timestep: int
    snr: float | None
    taus: tuple[float, ...]
    curve: tuple[float, ...]
    residual: float

    @property
    def told(self) -> str:
        """tau in words."""
        return f"tau={self.tau:.3f}"


@dataclass(frozen=True, kw_only=True)
class PairTransitions(Found):
    """A transition point for every pair of values. Either direction of a pair has the same: both make one criterion.

    Attributes:
        tau: the point of each pair (K, K), symmetric, 1 on the diagonal, where nothing is switched.
        residual: as of `Transition`, of each pair (K, K), 1 on the diagonal.
    """

    tau: tuple[tuple[float, ...], ...]
    residual: tuple[tuple[float, ...], ...]

    @property
    def told(self) -> str:
        """The range of the points in words."""
        of_pairs = [tau for i, row in enumerate(self.tau) for tau in row[:i]]
        return f"tau={min(of_pairs):.3f} to {max(of_pairs):.3f}"


def of_pairs(found: Mapping[tuple[int, int], Transition], *, values: int, context: dict[str, Any]) -> PairTransitions:
    """Searches of single pairs as one result.

    Arguments:
        found: by positions (a, b), a < b, of all pairs of `values` values.
        values: K.
        context: of all of them.
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


def point(process: Process, tau: float) -> dict[str, Any]:
    """A time as tau, timestep and SNR, which are fields of a `Transition`."""
    snr = float(process.snr(np.float32(tau)))
    return {"tau": tau, "timestep": round(tau * process.timesteps), "snr": snr if np.isfinite(snr) else None}


def _told(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else str(value)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
