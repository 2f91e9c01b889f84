"""The transition point, with the context that it belongs to."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jaxdiff.errors import InputError
from jaxdiff.process import Process


@dataclass(frozen=True)
class Transition:
    """A transition point tau and how it was found.

    Attributes:
        tau: the point on the process's time axis, in [0, 1]: a switched sample is under its end condition where t <= tau.
        timestep: tau in discrete timesteps, tau T.
        snr: the signal-to-noise ratio at tau; None at tau = 0, where there is no noise.
        mode: how it was found, e.g. `direct/pixel`.
        taus: the times at which the criterion was evaluated, ascending.
        curve: the criterion there.
        residual: its minimum over its value at tau = 0: 0 is a condition exactly solved, 1 is no better than not switching.
        evaluations: network evaluations spent per noise sample.
        batch: noise samples.
        context: what tau is tied to: process, solver, guidance scale, attribute, pair, model.
    """

    tau: float
    timestep: int
    snr: float | None
    mode: str
    taus: tuple[float, ...]
    curve: tuple[float, ...]
    residual: float
    evaluations: int
    batch: int
    context: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "Transition":
        """The inverse of `to_json`. Raises `InputError` where the text is no transition."""
        try:
            values = json.loads(text)
            return Transition(**{**values, "taus": tuple(values["taus"]), "curve": tuple(values["curve"])})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(f"not a transition as `sample search` writes it: {error}") from error

    def require(self, context: Mapping[str, Any]) -> None:
        """Raises `InputError` that names the first thing in which `context` differs from the one that tau was found in."""
        for name, value in context.items():
            found = self.context.get(name)
            if found != value:
                raise InputError(
                    f"tau={self.tau:.3f} was found for {name} {_told(found)}, and this is {name} {_told(value)}: search again"
                )


def point(process: Process, tau: float) -> dict[str, Any]:
    """A time as tau, timestep and SNR, which are the first fields of a `Transition`."""
    snr = float(process.snr(np.float32(tau)))
    return {"tau": tau, "timestep": round(tau * process.timesteps), "snr": snr if np.isfinite(snr) else None}


def _told(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else str(value)
