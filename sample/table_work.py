"""What `impute` and `forecast` share: the model and the table, the files that they write, and what they say of them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from jaxdiff import parallel
from jaxdiff._console.first import write_once
from jaxdiff._console.terminal import console
from jaxdiff.data.series import SeriesTable, open_table
from jaxdiff.data.series.columns import require_suffix
from jaxdiff.data.series.table import header
from jaxdiff.errors import InputError
from jaxdiff.loading import load
from jaxdiff.model import Model
from jaxdiff.models.labels import NULL
from jaxdiff.series_filling import Filler, require_imputation
from jaxdiff.spaces import Series
from jaxdiff.writing import remove, unwritable, whole

from .setting import make_solver
from .table_options import TableOptions

ON_CPU, MOST = 128, 1024
"""Windows at once on a device, on CPU and elsewhere."""
AT_ONCE = 2048
"""Windows that are drawn before what is finished is kept, about."""
FAR = 0.1
"""The share of a column's range beyond which values are far from those that the model was trained on."""


@dataclass(frozen=True)
class Files:
    """The files that a command writes.

    Attributes:
        out: the table.
        intervals: the table of medians and intervals.
        picture: the picture.
        draws: all draws; None if they are not asked for.
    """

    out: Path
    intervals: Path
    picture: Path
    draws: Path | None

    @staticmethod
    def of(options: TableOptions) -> "Files":
        """The files of a command.

        Raises:
            InputError: one exists, or parquet is asked for without pyarrow.
        """
        out = options.out
        require_suffix(out, "--out")
        made = Files(
            out, out.with_name(f"{out.stem}.intervals{out.suffix}"), out.with_name(f"{out.stem}.png"), options.draws_out
        )
        for path in made.every:
            if path.exists():
                raise InputError(f"{path} exists, and nothing is overwritten; choose another --out, or remove it")
        return made

    @property
    def every(self) -> list[Path]:
        """All of them, the table last."""
        return [self.intervals, self.picture, *([self.draws] if self.draws else []), self.out]

    def write(self, writers: Mapping[Path, Callable[[], Any]]) -> None:
        """Writes all of them or none, in the first process; the table last. Every process calls it."""

        def write():
            written = []
            try:
                for path in self.every:
                    written.append(path)
                    writers[path]()
            except BaseException as error:
                for path in written:
                    remove(path)
                if isinstance(error, OSError):
                    raise unwritable(path, error) from error
                raise

        write_once(self.out, write)


@dataclass(frozen=True)
class TableWork:
    """A table and the model that draws values of it.

    Attributes:
        table: with the columns of the model.
        filler: draws windows.
        space: that of the model.
        labels: of each row, int32 (T, A), -1 for none.
        usable: rows that windows may have, (T,).
    """

    table: SeriesTable
    filler: Filler
    space: Series
    labels: Int32[np.ndarray, "t a"]
    usable: Bool[np.ndarray, " t"]

    def digest(self, options: TableOptions, *more: Any) -> str:
        """Identifies all that draws are a function of; `more` is JSON-ready."""
        model, solver = self.filler.model, self.filler.solver
        named = [model.fingerprint, solver.config(), options.seed, options.draws, *more]
        made = hashlib.sha256(json.dumps(named).encode())
        for array in (self.table.values, self.table.order, self.table.follows, self.labels):
            made.update(np.ascontiguousarray(array).tobytes())
        return made.hexdigest()[:16]


def table_work(options: TableOptions) -> TableWork:
    """Joins the other processes, loads model and table, and checks that they fit; prints what was read.

    Raises:
        InputError: before any compute, if they do not fit.
    """
    mesh = options.make_mesh()
    model = load(options.model)
    space = require_imputation(model, f"--model {options.model}")
    solver = make_solver(options, model)
    solver.check(model.process)
    if options.batch_size is not None:
        parallel.check_divides(mesh, options.batch_size, "--batch-size")
    each = ON_CPU if jax.default_backend() == "cpu" else max(16, min(MOST, 2**22 // space.length**2))
    table = parallel.run_on_all(lambda: _table(options, model, space))
    network = parallel.place(model.network, parallel.parameter_shardings(mesh, model.network))
    filler = Filler(replace(model, network=network), solver, mesh, options.batch_size or each * mesh.size, options.seed)
    labels, usable = row_labels(model, table)
    for note in (*table.notes, *_unknown_columns(table)):
        console.print(note, highlight=False)
    for warning in _far_values(table, space):
        console.print(f"Warning: {warning}", highlight=False)
    return TableWork(table, filler, space, labels, usable)


def _table(options: TableOptions, model: Model, space: Series) -> SeriesTable:
    names = header(options.data)
    if missing := [name for name in space.columns if name not in names]:
        raise InputError(
            f"--data {options.data} lacks {_listed(missing)} that the model at {options.model} was trained on; its columns are "
            f"{', '.join(names)}, and those of the model {', '.join(space.columns)}"
        )
    labels = [attribute.name for attribute in model.conditions.attributes if attribute.name in names]
    return open_table(options.data, columns=space.columns, window=space.length, **({"label": labels} if labels else {}))


def _listed(names: Sequence[str]) -> str:
    return f"the column{'' if len(names) == 1 else 's'} {', '.join(names)}"


def row_labels(model: Model, table: SeriesTable) -> tuple[Int32[np.ndarray, "t a"], Bool[np.ndarray, " t"]]:
    """The labels of each row, -1 for none; and the rows that have one of each attribute, where the model needs it."""
    attributes = model.conditions.attributes
    labels = np.full((len(table), len(attributes)), NULL, np.int32)
    for i, attribute in enumerate(attributes):
        texts = table.labels.get(attribute.name)
        if texts is None and not model.conditions.has_null:
            raise InputError(f"the model was trained on classes without a null label, and {table.what} has no column "
                             f"{attribute.name!r} of them")  # fmt: skip
        for row, text in enumerate(() if texts is None else texts.tolist()):
            if text and text not in attribute.values:
                raise InputError(f"{table.place(row, attribute.name)} has {text!r}; the model knows "
                                 f"{', '.join(attribute.values)}")  # fmt: skip
            labels[row, i] = attribute.values.index(text) if text else NULL
    return labels, np.ones(len(table), bool) if model.conditions.has_null else (labels != NULL).all(axis=1)


def _unknown_columns(table: SeriesTable) -> list[str]:
    own = {*table.columns, table.time_name, table.group_name, *table.labels}
    others = [name for name in table.original.header if name not in own]
    return [f"{_listed(others)}: unknown to the model, and left alone"] if others else []


def _far_values(table: SeriesTable, space: Series) -> Iterator[str]:
    """Warnings of columns whose values lie far outside of the range that the model was trained on."""
    for column, values, low, high in zip(table.columns, table.values.T, space.low, space.high, strict=True):
        margin = FAR * (high - low)
        far = ~np.isnan(values) & ((values < low - margin) | (values > high + margin))
        if far.any():
            row = int(np.argmax(far))
            yield (
                f"column {column!r} has {far.sum():,} values far outside of {low:g} to {high:g}, the range that the model was "
                f"trained on, the first {values[row]:g} in row {table.numbers[row]}; draws near them may be wrong"
            )


def require_observed(table: SeriesTable) -> None:
    """Raises `InputError` if nothing of a column is observed."""
    if not table.mask.any():
        raise InputError(f"{table.what} has no value at all in the columns of the model, {', '.join(table.columns)}")
    if not (observed := table.mask.any(axis=0)).all():
        raise InputError(
            f"column {table.columns[int(np.argmin(observed))]!r} of {table.what} has no value in rows {table.numbers[0]} to "
            f"{table.numbers[-1]}: without any value of a column there is nothing to draw others from"
        )


def at_once(work: TableWork) -> int:
    """How many windows are drawn, about, before what is finished is kept."""
    return min(AT_ONCE, 2**24 // (work.space.length * len(work.space.columns)))


@dataclass(frozen=True)
class Summary:
    """Median and interval of draws, rounded to about a millionth of the range of each column.

    Attributes:
        median, lower, upper: (..., F).
    """

    median: Float[np.ndarray, " m"]
    lower: Float[np.ndarray, " m"]
    upper: Float[np.ndarray, " m"]

    @staticmethod
    def of(draws: Float[np.ndarray, "s m"], columns: np.ndarray, space: Series, level: float) -> "Summary":
        """The summary of draws (S, M) of values in these columns, (M,).

        The ends of an interval are the quantiles at the positions p (S + 1), see `jaxdiff.quality.series.interval_coverage`.
        """
        spans = np.subtract(space.high, space.low)
        decimals = np.clip(6 - np.ceil(np.log10(spans)), -300, 300).astype(int)[columns]
        tails = [(1 - level) / 2, (1 + level) / 2]
        found = [np.median(draws, axis=0), *np.quantile(draws, tails, axis=0, method="weibull")]
        return Summary(*(_rounded(each, decimals) for each in found))


def _rounded(values: Float[np.ndarray, " m"], decimals: np.ndarray) -> Float[np.ndarray, " m"]:
    """Values rounded to a number of decimals each."""
    made = values.copy()
    for each in np.unique(decimals):
        made[decimals == each] = [round(value, int(each)) for value in values[decimals == each].tolist()]
    return made + 0.0  # no -0.0


def interval_columns(
    places: Mapping[str, Any], columns: Sequence[str], summary: Summary, level: float
) -> dict[str, np.ndarray | Sequence[str]]:
    """The table of intervals: places of the values (row, time, series), then column, median, lower, upper, level."""
    return {
        **places,
        "column": list(columns),
        "median": summary.median,
        "lower": summary.lower,
        "upper": summary.upper,
        "level": np.full(len(columns), level),
    }


def places(table: SeriesTable, rows: Int[np.ndarray, " m"], out: Path) -> dict[str, np.ndarray | Sequence[str]]:
    """The places of values: the numbers of these rows in the file, their times as in the file (in parquet as timestamps), and
    the names of their series."""
    found: dict[str, np.ndarray | Sequence[str]] = {"row": table.numbers[rows]}
    if table.time_name is not None and table.times is not None:
        texts = table.texts(table.time_name) if out.suffix.lower() == ".csv" else None
        found["time"] = table.times[rows] if texts is None else [texts[row] for row in rows.tolist()]
    if table.group_name is not None:
        found["series"] = table.groups[rows].tolist()
    return found


def title(options: TableOptions, table: SeriesTable) -> str:
    """The title of the picture."""
    return f"{Path(table.what).name}: medians and {100 * options.level:g} % intervals of {options.draws} draws"


def write_draws(path: Path, **arrays: Any) -> None:
    """Writes arrays to an npz file, whole or not at all."""
    with whole(path) as partial, open(partial, "wb") as opened:
        np.savez_compressed(opened, allow_pickle=False, **arrays)
