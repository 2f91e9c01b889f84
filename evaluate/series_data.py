"""Windows of series that are compared: real ones in their splits, and sets of drawn ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32

from jaxdiff._console.reading import show_data
from jaxdiff.data import load_arrays
from jaxdiff.data.samples import FILE, Samples
from jaxdiff.data.series import SeriesSource, open_series
from jaxdiff.data.series.stored import is_stored
from jaxdiff.data.shown import SPLIT, TEST_SHARE
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError
from jaxdiff.process import Bridge
from jaxdiff.spaces import Series

from .options.series import SeriesOrigin, SeriesSets

DEFAULTS = {"split": SPLIT, "test_share": TEST_SHARE}
NAMED = {"data": "--real", "split": "--split", "test_share": "--test-share"}
"""The options that give the real data, and how they are split."""


@dataclass(frozen=True)
class Windows:
    """The windows of an evaluation, in the units of the table, float64.

    Attributes:
        space: the scale, that of all training windows.
        every: all training windows (N, L, F).
        train, test: at most --count of each split.
        sets: at most --count of each set, by name.
        real: the real data: their name, split, share of test windows, and the numbers of windows in both splits.
        provenance: what the sets record of how they were drawn, None for other files.
    """

    space: Series
    every: Float[np.ndarray, "n l f"]
    train: Float[np.ndarray, "m l f"]
    test: Float[np.ndarray, "k l f"]
    sets: Mapping[str, Float[np.ndarray, "_ l f"]]
    real: Mapping[str, Any]
    provenance: Mapping[str, Mapping[str, Any] | None]


def unit(space: Series, windows: Float[np.ndarray, "n l f"]) -> Float32[np.ndarray, "n l f"]:
    """The windows on the scale of scores, on which the training windows fill [0, 1]."""
    return (space.encode(windows) + 1) / 2


def ends(
    process: Bridge, encoded: Float[np.ndarray, "n l f"], seed: int
) -> tuple[Float[np.ndarray, "n l f"], Bool[np.ndarray, "n l f"] | None]:
    """The x_T of windows as in training, and which of its entries are known: a function of the seed and of a window's place."""
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(np.arange(len(encoded)))
    found = jax.jit(jax.vmap(process.prior_of_end.pair))(keys, encoded)
    return np.asarray(found.end), None if found.known is None else np.asarray(found.known)


def opened(options: SeriesSets) -> Windows:
    """Reads all windows, and prints what was understood of them.

    Raises:
        InputError: sets and real windows differ in their length, columns or scale, a value is missing in a set, or the real
            data cannot be read.
    """
    recorded = {spec: _record(spec) for spec in options.sets}
    origin, found = origin_of(options.sets, options)
    first = next(iter(found.values()))
    train, test = real_windows(origin, first.columns, first.shape[0])
    for source in (train, test, *found.values()):
        show_data(source)
    every, _ = load_arrays(train)
    space = space_of(train)
    for spec, source in found.items():
        require_same(source, space, spec, origin)
        source.require_complete()
    ambiguous = len({Path(spec).name for spec in options.sets}) < len(options.sets)
    names = {spec: spec if ambiguous else Path(spec).name for spec in options.sets}

    def some(source: SeriesSource) -> np.ndarray:
        return load_arrays(source, count=min(len(source), options.count), seed=options.seed)[0]

    sizes = {"train": len(train), "test": len(test)}
    return Windows(
        space, every, some(train), some(test), {names[spec]: some(source) for spec, source in found.items()}, origin | sizes,
        {names[spec]: record for spec, record in recorded.items()},
    )  # fmt: skip


def origin_of(
    specs: Sequence[str], options: SeriesOrigin, named: Mapping[str, str] = NAMED
) -> tuple[dict[str, Any], dict[str, SeriesSource]]:
    """The real data of sets, see `training_data`, and the sets, all of their windows.

    Arguments:
        specs: the sets.
        options, named: as of `training_data`.

    Raises:
        InputError: see `training_data`, or a set cannot be read.
    """
    recorded = [_record(spec) for spec in specs]
    training = [each["model_training"] for each in recorded if each and "model_training" in each]
    origin = training_data(options, training, "the sets", named)
    return origin, {spec: open_series(spec, window=origin["window"]) for spec in specs}


def space_of(train: SeriesSource) -> Series:
    """The space of training windows. Raises `InputError` for columns that cannot be scaled."""
    return Series.fit(load_arrays(train)[0], train.columns)


def training_data(
    options: SeriesOrigin, training: Sequence[Mapping[str, Any]], whose: str, named: Mapping[str, str] = NAMED
) -> dict[str, Any]:
    """The real data and how they are split: as the options say, or else as models were trained.

    Arguments:
        options: the options.
        training: what models record of their training.
        whose: models or sets, in error messages.
        named: the options that give the data and their split, by what they give; not of what none gives.

    Raises:
        InputError: nothing says which data, or models differ in it.
    """
    found: dict[str, Any] = {}
    given = {"data": options.real, "split": options.split, "test_share": options.test_share}
    for name, value in given.items():
        own = {str(each[name]): each[name] for each in training if each.get(name) is not None}
        if value is None and len(own) > 1:
            what = f"give {named[name]}" if name in named else "evaluate them apart"
            raise InputError(f"{whose} were trained on different data, {' and '.join(own)}: {what}")
        found[name] = value if value is not None else next(iter(own.values()), DEFAULTS.get(name))
    if found["data"] is None:
        raise InputError(f"{named['data']} is needed: {whose} do not record the data of their training")
    # sets of other lengths are refused later
    found["window"] = next((each["window"] for each in training if each.get("window") is not None), None)
    return found


def real_windows(origin: Mapping[str, Any], columns: Sequence[str], length: int) -> tuple[SeriesSource, SeriesSource]:
    """Training and test windows, without those that have missing values.

    Raises:
        InputError: the data lack a column, cannot be read, have no splits, or no windows of this length.
    """
    if is_stored(Path(split_spec(origin["data"])[0]).expanduser()):
        raise InputError(f"real series must have training and test windows, and {origin['data']} has no splits: give a table")
    how = {"by": origin["split"], "test_share": origin["test_share"], "window": length, "columns": columns}
    train, test = (open_series(origin["data"], split=split, **how).complete() for split in ("train", "test"))
    return train, test


def require_same(source: SeriesSource, space: Series, name: str, origin: Mapping[str, Any]) -> None:
    """Raises `InputError` unless drawn windows are of the columns, the length and the scale of the real training windows."""
    if source.columns != space.columns or source.shape != space.shape:
        raise InputError(
            f"{name} has windows of {source.shape[0]} rows of {', '.join(source.columns)}; the others and --real have {space}"
        )
    if source.space is not None:
        require_scale(source.space, space, f"{name} was drawn by a model", origin)


def require_scale(own: Series, space: Series, who: str, origin: Mapping[str, Any]) -> None:
    """Raises `InputError` unless the range of each column is that of the training windows."""
    ends = zip(space.columns, own.low, own.high, space.low, space.high, strict=True)
    for column, *pair, low, high in ends:
        if pair != [low, high]:
            raise InputError(
                f"{who} whose training windows have {column!r} in [{pair[0]:.6g}, {pair[1]:.6g}]; those of {origin['data']}, "
                f"split {origin['split']} with a test share of {origin['test_share']:g}, have [{low:.6g}, {high:.6g}]: give "
                "the --real, --split and --test-share of its training"
            )


def _record(spec: str) -> Mapping[str, Any] | None:
    """The provenance of a set of samples; None of other files."""
    return Samples.open(spec).provenance if (Path(spec).expanduser() / FILE).is_file() else None
