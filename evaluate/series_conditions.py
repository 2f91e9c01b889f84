"""`jaxdiff evaluate conditions`: imputation error, kept constraints and followed trends of a series model."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, reported
from jaxdiff.batches import in_batches
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.data import load_arrays
from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, checksum, key_of, once, run_all
from jaxdiff.model import Model, load
from jaxdiff.process import Bridge
from jaxdiff.solvers import SOLVERS, sample
from jaxdiff.spaces import Series

from . import series_conditions_report as report
from . import series_data, series_imputation
from .options.series_conditions import SeriesConditions
from .provenance import provenance
from .series_kept import constraints, trends

End = tuple[Float[np.ndarray, "n l f"], Bool[np.ndarray, "n l f"] | None]
"""x_T of windows on the scale of the model, and which of its entries are known."""


@dataclass(frozen=True)
class Given:
    """What the measures take.

    Attributes:
        options: the options.
        model: the model, a bridge whose prior is a condition.
        windows: test windows, in the units of the table (N, L, F).
        labels: theirs (N, A).
        finished: where draws are kept.
    """

    options: SeriesConditions
    model: Model
    windows: Float[np.ndarray, "n l f"]
    labels: np.ndarray
    finished: Finished

    @property
    def space(self) -> Series:
        """The space of the windows."""
        assert isinstance(self.model.space, Series)
        return self.model.space

    @cached_property
    def encoded(self) -> Float[np.ndarray, "n l f"]:
        """The windows on the scale of the model."""
        return self.space.encode(self.windows)

    def unit(self, x: Float[np.ndarray, "... l f"]) -> Float[np.ndarray, "... l f"]:
        """Windows of the model on the scale of scores, on which the training windows fill [0, 1]."""
        return (np.asarray(x, np.float64) + 1) / 2

    def of_prior(self) -> End:
        """The condition of each window as in training, a function of the seed and of its place."""
        return series_data.ends(self.model.process, self.encoded, self.options.seed)

    def drawn(self, ends: Mapping[str, End]) -> dict[str, Float[np.ndarray, "s n l f"]]:
        """Draws for each of several conditions of the windows, by name, on the scale of the model (S, N, L, F)."""
        options, count = self.options, len(self.windows)
        about = (self.model.fingerprint, json.dumps(self.model.process.config()), options.seed, options.solver, options.steps)
        places, parts = [], []
        for name, (end, known) in ends.items():
            given = checksum((about, end, known, self.labels))
            for draw in range(options.draws):
                places.append(name)
                key = key_of("draw", given, draw)
                parts.append((f"{name}, draw {draw + 1}", key, partial(self._draw, key, end, known, draw * count)))
        with reported("drawing", unit="draws") as progress:
            found = run_all(self.finished, parts, progress)
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in ends}
        for name, each in zip(places, found, strict=True):
            drawn[name].append(each)
        return {name: np.stack(each) for name, each in drawn.items()}

    def _draw(self, key: str, end: np.ndarray, known: np.ndarray | None, first: int) -> Float[np.ndarray, "n l f"]:
        condition = self.model.conditions.encode(self.labels)
        rows = {
            "condition": BridgeCondition(end, known, condition.labels),
            "indices": np.arange(first, first + len(self.windows)),
        }

        solver = SOLVERS[self.options.solver](self.options.steps)

        def draw(rows):
            return sample(
                self.model.denoise, self.model.process, shape=self.model.shape, solver=solver,
                key=jax.random.key(self.options.seed), condition=rows["condition"], indices=rows["indices"],
            )  # fmt: skip

        size = min(self.options.batch_size, len(self.windows))
        return once(self.finished, key, lambda: {"windows": in_batches(draw, rows, size)})["windows"]


MEASURES: Mapping[str, Callable[[Given], dict[str, Any]]] = {
    "imputation": series_imputation.imputation,
    "fixed": constraints,
    "extremes": constraints,
    "ohlc": constraints,
    "trend": trends,
}
"""What is measured, by the prior of the model."""


def conditions(options: SeriesConditions) -> dict[str, Any]:
    """Measures, writes the report and prints the tables; returns the content of conditions.json."""
    with kept_parts(options.out, "conditions") as finished:
        return evaluate(options, finished)


def evaluate(options: SeriesConditions, finished: Finished) -> dict[str, Any]:
    """As `conditions`; keeps what is finished."""
    start = time.monotonic()
    model = load(options.model)
    prior = _prior(options, model)
    if prior == "imputation" and options.draws < series_imputation.LEAST:
        raise InputError(f"--draws must be at least {series_imputation.LEAST} for 90 % intervals, got {options.draws}")
    origin = series_data.training_data(options, [model.training], "the model")
    assert isinstance(model.space, Series)
    train, test = series_data.real_windows(origin, model.space.columns, model.space.length)
    show_data(test)
    space = Series.fit(load_arrays(train)[0], train.columns)
    series_data.require_scale(model.space, space, f"{options.model} is a model", origin)
    named = [attribute.name for attribute in model.conditions.attributes]
    if [attribute.name for attribute in test.attributes] != named:
        raise InputError(f"{options.model} takes the labels {', '.join(named) or 'none'}, and {test.name} has others")
    windows, labels = load_arrays(test, count=min(options.count, len(test)), seed=options.seed)
    found = MEASURES[prior](Given(options, model, windows, labels, finished))
    content = {
        "prior": prior,
        "real": {**origin, "test": len(test), "used": len(windows), "columns": list(space.columns)},
        **found,
        "model": model.fingerprint,
        "model_training": model.training,
        "process": model.process.config(),
        **provenance(options),
        "seconds": round(time.monotonic() - start, 1),
    }
    write_once(options.out, lambda: report.write(content, options.out))
    report.show(content, console)
    console.print(f"wrote {options.out}/conditions.json and conditions.md", highlight=False)
    return content


def _prior(options: SeriesConditions, model: Model) -> str:
    """The name of the model's prior. Raises `InputError` unless it is a condition that is measured."""
    if not isinstance(model.space, Series):
        raise InputError(f"--model takes a model of series; {options.model} is one of {model.space}")
    if not isinstance(model.process, Bridge) or (name := model.process.prior_of_end.name) not in MEASURES:
        what = f"prior {model.process.prior_of_end.name}" if isinstance(model.process, Bridge) else model.process.name
        raise InputError(
            f"--model takes a model that was trained with --prior {', '.join(MEASURES)}; {options.model} has {what}, which "
            "takes no condition: `jaxdiff evaluate series` judges its sets"
        )
    return name
