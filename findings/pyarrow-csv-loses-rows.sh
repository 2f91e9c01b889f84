#!/usr/bin/env bash
# Package: pyarrow 26.0.1.
# Expected: a table that pyarrow writes as CSV has as many rows when pyarrow reads it with the same, default options.
# What happens: in a table of one column, a missing value is written as an empty line, and the reader skips empty lines
#   (`ignore_empty_lines` is true by default). The row is lost without a warning: a series of one value an hour moves an hour
#   forward after each missing value, and no value is missing any more. With a second column the rows are kept.
# Output seen:
#   one column : written 5 rows, 2 missing; read 3 rows, 0 missing: [5, 7, 8]
#   two columns: written 5 rows, 2 missing; read 5 rows, 2 missing: [5, None, 7, None, 8]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1
"$folder/venv/bin/python" -I - <<'PY'
import io
import warnings

import pyarrow as pa
import pyarrow.csv

warnings.simplefilter("error")


def again(name, table):
    written = io.BytesIO()
    pa.csv.write_csv(table, written)
    read = pa.csv.read_csv(io.BytesIO(written.getvalue()))
    print(
        f"{name}: written {table.num_rows} rows, {table['load'].null_count} missing; read {read.num_rows} rows, "
        f"{read['load'].null_count} missing: {read['load'].to_pylist()}"
    )
    return read["load"].to_pylist()


load = [5.0, None, 7.0, None, 8.0]
one = again("one column ", pa.table({"load": load}))
two = again("two columns", pa.table({"load": load, "hour": range(5)}))
if one != [5, 7, 8]:
    raise SystemExit("changed: missing values of a single column are no longer lost")
if two != load:
    raise SystemExit("changed: missing values beside another column are no longer kept")
PY
