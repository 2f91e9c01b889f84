"""The space of time series: windows of a table, each column scaled to [-1, 1]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from jaxdiff.bounds import Bounds, Finite, check_bounds, shortened
from jaxdiff.errors import InputError
from jaxdiff.guidance import Unbounded
from jaxdiff.spaces.space import Space

COLOURS = np.array(
    [
        (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75), (227, 119, 194),
        (127, 127, 127), (188, 189, 34), (23, 190, 207),
    ],
    np.uint8,
)  # fmt: skip
"""The colours of the lines of a picture, column by column; an eleventh column has the first colour again."""
PICTURE = (64, 96)
"""Height and width of a picture in pixels."""
MOST_COLUMNS = 10**4
"""The most columns of a series."""
_MARGIN = 3
"""Pixels above the highest and below the lowest value of a picture."""


@dataclass(frozen=True)
class Series(Space):
    """Windows of a table, float64 (L, F): L rows in the order of time, F columns. A column's range becomes [-1, 1]:
    the value v becomes 2 (v - low) / (high - low) - 1.

    Values outside of the range are encoded beyond [-1, 1] and decoded as they are: the range is that of the training data, and
    nothing is clipped. A missing value is NaN in both forms.

    Arguments:
        columns: the names of the F columns, distinct.
        length: L.
        low, high: the lowest and highest value of each column, F finite numbers each, `low` below `high`.

    Raises:
        InputError: the columns are no distinct names, or the numbers do not match them.
    """

    columns: tuple[str, ...]
    length: Annotated[int, Bounds(least=1, limit=10**6)]
    low: tuple[Finite, ...]
    high: tuple[Finite, ...]

    name: ClassVar[str] = "series"
    array: ClassVar[str] = "series"
    dtype: ClassVar[str] = "float64"
    noun: ClassVar[str] = "windows"
    distance_unit: ClassVar[str] = "on the scale where the training windows fill [-1, 1]"
    overlapping: ClassVar[bool] = True

    def __post_init__(self):
        _checked(self.columns)
        check_bounds(self)
        for field in ("low", "high"):
            if len(numbers := getattr(self, field)) != len(self.columns):
                raise InputError(f"`{field}` must be {len(self.columns)} numbers, one for each column, got {len(numbers)}")
        for column, low, high in zip(self.columns, self.low, self.high, strict=True):
            if not low < high:
                raise InputError(f"`low` must be below `high` in each column; column {column!r} has {low:.17g} and {high:.17g}")

    @classmethod
    def fit(cls, windows: Float[np.ndarray, "n length f"], columns: Sequence[str]) -> "Series":
        """The space of windows, with the lowest and highest value of each column.

        Arguments:
            windows: of the training split alone, so that nothing of the test split is used; NaN where a value is missing.
            columns: the names of the F columns.

        Raises:
            InputError: there are no windows, the number of columns is another, or a column has no value, an infinite one, or
                one value alone: such a column cannot be scaled.
        """
        _checked(columns)
        if not windows.size or windows.shape[2] != len(columns):
            raise InputError(f"`windows` must be (N, L, {len(columns)}) for {len(columns)} columns, got {windows.shape}")
        rows = windows.reshape(-1, len(columns))
        for column, values in zip(columns, rows.T, strict=True):
            if np.isnan(values).all():
                raise InputError(f"column {column!r} has no value in any of {len(windows)} windows; leave it out")
            if np.isinf(values).any():
                raise InputError(f"column {column!r} has infinite values; they must be finite, or NaN where missing")
        low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
        for column, lowest, highest in zip(columns, low, high, strict=True):
            if lowest == highest:
                raise InputError(
                    f"column {column!r} is constant: it is {lowest:.17g} in all of {len(windows)} windows; leave it out"
                )
        return cls(tuple(columns), windows.shape[1], tuple(low.tolist()), tuple(high.tolist()))

    @property
    def shape(self) -> tuple[int, int]:
        """(L, F)."""
        return (self.length, len(self.columns))

    @property
    def policy(self) -> Unbounded:
        """No clipping: values beyond those of the training data are possible."""
        return Unbounded()

    @property
    def described(self) -> dict[str, list[str]]:
        """The columns; see `Space.described`."""
        return {"columns": list(self.columns)}

    def compared(self, shown: Float[np.ndarray, "b length f"]) -> Float[np.ndarray, "b length f"]:
        """Scaled windows; see `Space.compared`."""
        return self.encode(shown)

    def encode(self, shown: Shaped[Any, "b ..."]) -> Float[Any, "b length f"]:
        """Scaled windows, float32; see `Space.encode`. Windows on the host are scaled in float64."""
        self.check(shown)
        xp = jax.numpy if isinstance(shown, jax.Array) else np
        low, high = xp.asarray(self.low), xp.asarray(self.high)
        return (2 * (shown - low) / (high - low) - 1).astype(np.float32)

    def decode(self, x: Float[Array, "b length f"] | Float[np.ndarray, "b length f"]) -> Float[np.ndarray, "b length f"]:
        """Windows in the units of the table, float64; -1 and 1 become exactly `low` and `high`. See `Space.decode`."""
        share = (np.asarray(x, np.float64) + 1) / 2
        return np.asarray(self.low) * (1 - share) + np.asarray(self.high) * share

    def check(self, samples: Shaped[Any, "b ..."]) -> None:
        """As `Space.check`; a JAX array may be float32, the widest type it has by default."""
        if not (isinstance(samples, jax.Array) and samples.dtype == np.float32 and samples.shape[1:] == self.shape):
            super().check(samples)

    def pictures(self, shown: Float[np.ndarray, "b length f"]) -> UInt8[np.ndarray, "b height width 3"]:
        """The windows as lines on white, one colour a column (`COLOURS`); the range of each column fills the height.

        A line ends where values are missing, and stays at the edge where values leave the range.
        """
        height, width = PICTURE
        scaled = np.clip(self.encode(shown), -1, 1)
        levels = (1 - scaled) / 2 * (height - 1 - 2 * _MARGIN) + _MARGIN
        pictures = np.full((len(shown), height, width, 3), 255, np.uint8)
        at = np.linspace(0, self.length - 1, width + 1)
        places = np.minimum(np.linspace(0, width, self.length).astype(int), width - 1)
        rows = np.arange(height)
        for feature in range(len(self.columns)):
            level, colour = levels[..., feature], COLOURS[feature % len(COLOURS)]
            pictures[_line(level, at, rows)] = colour
            # values between two missing ones have no line: each value is a point, too
            of, value = np.nonzero(~np.isnan(level))
            pictures[of, np.rint(level[of, value]).astype(int), places[value]] = colour
        return pictures

    def settings(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "length": self.length, "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Series":
        """The space with these settings, whose lists become tuples; see `Space.from_settings`."""
        found: dict[str, Any] = {**settings, "columns": tuple(_checked(settings.get("columns")))}
        found |= {field: tuple(map(float, settings[field])) for field in ("low", "high") if field in settings}
        return cls(**found)

    def __str__(self) -> str:
        return f"windows of {self.length} rows of {', '.join(self.columns)}"


def _checked(columns: Any) -> Sequence[str]:
    """The names of columns. Raises `InputError` unless they are distinct."""
    names = list(columns) if isinstance(columns, list | tuple) else []
    if (
        not 1 <= len(names) <= MOST_COLUMNS
        or not all(isinstance(name, str) and name and not _has_surrogates(name) for name in names)
        or len(set(names)) != len(names)
    ):
        raise InputError(f"`columns` must be 1 to {MOST_COLUMNS:,} distinct, non-empty names, got {shortened(columns)}")
    return names


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _line(
    level: Float[np.ndarray, "b length"], at: Float[np.ndarray, " edges"], rows: Int[np.ndarray, " height"]
) -> Bool[np.ndarray, "b height width"]:
    """The pixels of a line through the levels, in rows; `at` are the positions in time of the edges of the pixels."""
    before = at.astype(int)
    after, share = np.minimum(before + 1, level.shape[1] - 1), at - before
    # without the value after it where its share is 0, since that may be missing
    edges = np.where(share == 0, level[:, before], level[:, before] * (1 - share) + level[:, after] * share)
    low, high = np.minimum(edges[:, :-1], edges[:, 1:]), np.maximum(edges[:, :-1], edges[:, 1:])
    return (rows[:, None] >= low[:, None] - 0.5) & (rows[:, None] <= high[:, None] + 0.5)
