"""Small tables of series, as files."""

import numpy as np

HOURS = np.arange("2016-07-01T00", "2016-07-03T00", dtype="datetime64[h]")


def rows(count=48, columns=2, seed=0):
    """Values of (count, columns), with few digits."""
    return np.random.default_rng(seed).normal(size=(count, columns)).round(3)


def csv_text(header, *columns, separator=","):
    """A table of columns as text."""
    lines = [separator.join(header), *(separator.join(map(str, row)) for row in zip(*columns, strict=True))]
    return "\n".join(lines) + "\n"


def hourly(count=48, columns=2, *, drop=(), **changes):
    """A table of `date`, `a`, `b`, ... with a row an hour, without those that are dropped, as text."""
    names = [chr(ord("a") + i) for i in range(columns)]
    kept = [i for i in range(count) if i not in drop]
    times = [str(HOURS[0] + i).replace("T", " ") + ":00:00" for i in kept]
    return csv_text(["date", *names], times, *rows(count, columns)[kept].T.tolist(), **changes)
