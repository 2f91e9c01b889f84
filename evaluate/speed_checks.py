"""Whether a machine was quiet enough for timings to be compared: before, during and after them.

PyTorch's threads wait for one another at the end of each operation, so that any other process on a core slows it by far more
than the share that this process takes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jaxdiff.errors import InputError

from .machine_load import OthersLoad
from .timing import Benchmark, time_alternately

MOST_LOAD = 0.2
"""The number of cores that other processes may use."""
LEAST_RATE = 0.8
"""The least rate of matrix products, of the best in the run."""
ROUNDS = 7
"""Timings of matrix products in a check."""
SETTLING, IDLE = 0.3, 1.0
"""Seconds until idle threads of ours sleep, and of the measurement of the load."""
BUSY = "--busy was given"

Rates = Mapping[str, Mapping[str, Sequence[float]]]
"""Rates of matrix products in operations per second, of each round, by precision and framework."""


@dataclass(frozen=True)
class Check:
    """What was measured at one time.

    Arguments:
        when: the time, in words.
        load: the number of cores that other processes used; None if unknown.
        rates: the rates of matrix products then, if they were measured.
    """

    when: str
    load: float | None
    rates: Rates = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The measurements, JSON-ready, with the median of each rate."""
        medians = {dtype: {name: float(np.median(each)) for name, each in by.items()} for dtype, by in self.rates.items()}
        return asdict(self) | {"rates": medians}


def best_rates(checks: Sequence[Check]) -> dict[str, dict[str, float]]:
    """The highest rate of any round, by precision and framework."""
    found: dict[str, dict[str, float]] = {}
    for check in checks:
        for dtype, by in check.rates.items():
            best = found.setdefault(dtype, {})
            for name, rates in by.items():
                best[name] = max(best.get(name, 0.0), *rates)
    return found


def disturbances(checks: Sequence[Check], best: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What disturbed the machine, a sentence each; none if it was quiet.

    Arguments:
        checks: the checks.
        best: the best rates of the whole run, see `best_rates`.
    """
    found = []
    for check in checks:
        if check.load is not None and check.load > MOST_LOAD:
            found.append(f"{check.when}, other processes used {check.load:.2f} cores, more than {MOST_LOAD:g}")
        for dtype, by in check.rates.items():
            for name, rates in by.items():
                share = float(np.median(rates)) / best[dtype][name]
                if not share >= LEAST_RATE:
                    found.append(
                        f"{check.when}, {name} multiplied {dtype} matrices at {share:.2f} of its best rate in this run, "
                        f"less than {LEAST_RATE:g}"
                    )
    return found


def judged(comparison: Mapping[str, Any], found: Sequence[str], busy: bool) -> dict[str, Any]:
    """A comparison of the report, with its disturbances; without ratios if there are any, or if `busy` allowed them."""
    found = [BUSY] * busy + list(found)
    left_out = ("ratio", "share_of_matrix_rate") if found else ()
    rows = [{name: value for name, value in row.items() if name not in left_out} for row in comparison["variants"]]
    return {**comparison, "variants": rows, "disturbances": found}


def require_quiet(checks: Sequence[Check], busy: bool) -> None:
    """Raises `InputError` if the machine is disturbed, unless `busy` allows it."""
    if (found := disturbances(checks, best_rates(checks))) and not busy:
        raise InputError(
            f"the machine is busy, so that ratios would be wrong: {'; '.join(found)}. Stop the other processes, or give "
            "--busy to time without ratios"
        )


class Checks:
    """The checks of a run, in order.

    Arguments:
        rates: measures the rates of matrix products in a precision, see `matrix_rates`.
        own: the process identifiers of our own processes.
    """

    def __init__(self, rates: Callable[[str], Mapping[str, Sequence[float]]], own: Sequence[int]):
        self._rates, self._own = rates, own
        self.made: list[Check] = []

    def idle(self, when: str, dtypes: Sequence[str]) -> None:
        """Measures the load while our processes idle, then the rates of matrix products in these precisions."""
        load = idle_load(self._own)
        self.made.append(Check(when, load, {dtype: self._rates(dtype) for dtype in dtypes}))

    def load(self) -> OthersLoad:
        """Measures what others use while our processes run."""
        return OthersLoad(self._own)

    def after(self, name: str, load: OthersLoad, dtypes: Sequence[str]) -> list[Check]:
        """Checks the machine after timings.

        Arguments:
            name: what was timed.
            load: the load during the timings.
            dtypes: see `idle`.

        Returns:
            The checks that judge the timings: the last one before them, during them, and after them.
        """
        before = self.made[-1]
        self.made.append(Check(f"during {name}", load.load))
        self.idle(f"after {name}", dtypes)
        return [before, *self.made[-2:]]


def idle_load(own: Sequence[int]) -> float | None:
    """The number of cores that other processes use while ours idle; None if unknown."""
    time.sleep(SETTLING)
    with OthersLoad(own) as load:
        time.sleep(IDLE)
    return load.load


def matrix_rates(benchmarks: Sequence[Benchmark], operations: float) -> dict[str, list[float]]:
    """The rates of matrix products in each round, in operations per second, by framework; one runs at a time.

    Arguments:
        benchmarks: the products in each framework.
        operations: of a round.
    """
    results = time_alternately(benchmarks, ROUNDS)
    if failed := [result for result in results if result.failure]:
        raise InputError(f"matrix products of {failed[0].benchmark.name} failed: {failed[0].failure}")
    return {result.benchmark.framework: [operations / seconds for seconds in result.seconds] for result in results}
