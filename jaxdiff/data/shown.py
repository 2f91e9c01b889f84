"""Data sets as what a space shows: images for a model of images, windows of tables for one of time series."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxdiff.data import samples
from jaxdiff.data.opening import open_data
from jaxdiff.data.series.opening import GENERATED, open_series
from jaxdiff.data.series.options import split_options
from jaxdiff.data.source import Source
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError
from jaxdiff.npz_file import load_npz
from jaxdiff.spaces import Pixels, Series, Space

SPLIT, TEST_SHARE = "time", 0.1
"""How windows of series are split where nothing says, and the share that is held out."""


def is_series(spec: str) -> bool:
    """Whether a name is one of series: a set of samples or an npz file of windows, a CSV file, or generated series."""
    base = split_spec(spec)[0]
    path = Path(base).expanduser()
    if (path / samples.FILE).is_file():
        return (samples.read_description(path).get("space") or {}).get("name") == Series.name
    if path.suffix.lower() == ".npz":
        return path.is_file() and Series.array in load_npz(path, used=())
    kind = split_options(base)[0]
    return kind == "csv" or kind in GENERATED


def open_shown(
    spec: str,
    space: Space,
    *,
    split: str | None,
    attributes: Sequence[str] | None = None,
    training: Mapping[str, Any] | None = None,
    **reading: Any,
) -> Source:
    """Opens a data set as decoded samples of a space: images of its size and channels, or windows of its length and columns.

    Arguments:
        spec: as for `jaxdiff.data.open_data`, or `jaxdiff.data.series.open_series`.
        space: the space of a model.
        split: as of `open_data`; of series, None and all take every window.
        attributes: the attributes to use, in this order; None takes all.
        training: what a model records of its training: windows are split as there.
        reading: `value_names`, `layout`, `range` and `links` of `open_data`; series take none of the first three.

    Raises:
        InputError: the data cannot be read or are of another kind, or an argument is not for them.
    """
    shown = space.shown
    return OPENERS[shown.array](spec, shown, split=split, attributes=attributes, training=training or {}, reading=reading)


def _images(spec: str, space: Pixels, *, split, attributes, training, reading) -> Source:
    height, width, channels = space.shape
    return open_data(spec, split=split, size=(height, width), channels=channels, attributes=attributes, **reading)


def _series(spec: str, space: Series, *, split, attributes, training, reading) -> Source:
    if given := next((name for name in ("value_names", "layout", "range") if reading.get(name)), None):
        raise InputError(f"`{given}` is for images, and {spec} is read as series")
    source = open_series(
        spec,
        split=None if split == "all" else split,
        by=str(training.get("split") or SPLIT),
        test_share=float(training.get("test_share") or TEST_SHARE),
        window=space.length,
        columns=space.columns,
    ).complete()
    return source if attributes is None else source.with_attributes(attributes)


OPENERS: Mapping[str, Callable[..., Source]] = {Pixels.array: _images, Series.array: _series}
"""How data are opened, by the name of the arrays of their space."""
