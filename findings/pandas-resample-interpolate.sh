#!/usr/bin/env bash
# Package: pandas 3.1.1.
# Expected: series.resample("60min").interpolate() interpolates "between target timestamps". The default, "linear", treats the
#   values as equally spaced, which timestamps 60 minutes apart are. A series that is linear in time, minutes since
#   midnight, is 60 at 01:00 and 120 at 02:00, whatever the times of its observations.
# What happens: the observations off the grid are put between the timestamps of the grid, and these together are taken as
#   equally spaced. With 55 at 00:55 and 125 at 02:05 the value at 01:00 is 78.3, a third of the way, and not 60. The
#   documentation's last example holds such values: 1 at 0 s and -1 at 1 s give -0.33 at 0.8 s.
#   interpolate("time") is right, and so is the default where every observation lies on the grid.
# Output seen:
#   at 0, 55, 125 and 180 minutes interpolate(    ): 0.0, 78.3, 101.7, 180.0; furthest from the line 18.3 minutes
#   at 0, 55, 125 and 180 minutes interpolate(time): 0.0, 60.0, 120.0, 180.0; furthest from the line 0.0 minutes
#   at 100 times of a day         interpolate(    ): 0.0, 63.0, 116.0, 181.0; furthest from the line 20.0 minutes
#   at 100 times of a day         interpolate(time): 0.0, 60.0, 120.0, 180.0; furthest from the line 0.0 minutes
#   on the grid, one hour missing interpolate(    ): 0.0, 60.0, 120.0, 180.0; furthest from the line 0.0 minutes
#   on the grid, one hour missing interpolate(time): 0.0, 60.0, 120.0, 180.0; furthest from the line 0.0 minutes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pandas==3.1.1
"$folder/venv/bin/python" -I - <<'PY'
import numpy as np
import pandas as pd

MIDNIGHT = pd.Timestamp("2026-01-01")


def resampled(minutes, *method):
    times = MIDNIGHT + pd.to_timedelta(minutes, unit="min")
    return pd.Series(np.array(minutes, float), index=times).resample("60min").interpolate(*method)


def furthest(series):
    exact = (series.index - MIDNIGHT) / pd.Timedelta("1min")
    return float(np.abs(series - exact).max())


seen = {}
irregular = np.sort(np.random.default_rng(0).choice(np.arange(1, 1440), 100, replace=False))
cases = {
    "at 0, 55, 125 and 180 minutes": [0, 55, 125, 180],
    "at 100 times of a day": [0, *irregular.tolist(), 1440],
    "on the grid, one hour missing": [0, 60, 180],
}
for name, minutes in cases.items():
    for method in ((), ("time",)):
        series = resampled(minutes, *method)
        seen[name, method] = furthest(series)
        first = ", ".join(f"{value:.1f}" for value in series.iloc[:4])
        print(f"{name:29} interpolate({', '.join(method):4}): {first}; furthest from the line {furthest(series):.1f} minutes")
for name in list(cases)[:2]:
    assert seen[name, ()] > 10, "changed: the default interpolates a series off the grid correctly"
assert seen[list(cases)[2], ()] < 1e-9, "changed: the default on the grid"
assert all(value < 1e-9 for (_, method), value in seen.items() if method), "changed: the method 'time'"
PY
