#!/usr/bin/env bash
# Package: datasets 5.2.0 (its "parquet" loader).
# Expected: every parquet file that `to_parquet` writes holds the names of its classes (`ClassLabel`, in the file's metadata),
#   and `concatenate_datasets` refuses two data sets whose names differ. So files loaded together are refused too, or each row
#   keeps the name of its class.
# Guess before running: the names of the first file are used for all, without an error.
# What happens: the names of the first file are used for all files and all splits, and the numbers of the others are taken as
#   they are. `class_encode_column` numbers the classes that occur, so two parts encoded on their own, or a test set without one
#   of the classes, are loaded with wrong labels. Nothing is logged, and streaming does the same.
# Output seen:
#   two files: 6 of 12 rows right; the second is read as {'ant': 'cat', 'cat': 'dog'}
#   train and test: in test 0 of 6 rows right; read as {'ant': 'cat', 'cat': 'dog'}
#   the second file alone: 6 of 6 rows right
#   concatenate_datasets refuses: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0
mkdir "$folder/data"
DATA="$folder/data" HF_HOME="$folder/data/home" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import os
from pathlib import Path

import datasets

datasets.disable_progress_bars()
root = Path(os.environ["DATA"])


def part(name, animals):
    """A file of rows with a class, and the class as a text, which shows what it was."""
    rows = datasets.Dataset.from_dict({"text": animals, "label": animals}).class_encode_column("label")
    rows.to_parquet(str(root / name))
    return rows


def load(files, **options):
    return datasets.load_dataset("parquet", data_files=files, cache_dir=str(root / "cache"), **options)


def read(rows):
    """The text and the name of the class of each row."""
    return [(row["text"], rows.features["label"].int2str(row["label"])) for row in rows]


def right(pairs):
    return f"{sum(text == name for text, name in pairs)} of {len(pairs)} rows right"


one = part("one.parquet", ["cat", "dog"] * 3)  # classes cat, dog
other = part("other.parquet", ["ant", "cat"] * 3)  # classes ant, cat
files = [str(root / "one.parquet"), str(root / "other.parquet")]

both = read(load(files, split="train"))
streamed = read(load(files, split="train", streaming=True))
print(f"two files: {right(both)}; the second is read as {dict(both[6:])}")
splits = load({"train": files[0], "test": files[1]})
test = read(splits["test"])
print(f"train and test: in test {right(test)}; read as {dict(test)}")
alone = read(load(files[1], split="train"))
print(f"the second file alone: {right(alone)}")
try:
    datasets.concatenate_datasets([one, other])
    refused = False
except ValueError:
    refused = True
print(f"concatenate_datasets refuses: {refused}")

wrong = [("ant", "cat"), ("cat", "dog")] * 3
if both != [("cat", "cat"), ("dog", "dog")] * 3 + wrong or streamed != both:
    raise SystemExit("changed: files with other class names are no longer read with those of the first")
if test != wrong:
    raise SystemExit("changed: a test split no longer gets the class names of the training split")
if alone != [("ant", "ant"), ("cat", "cat")] * 3:
    raise SystemExit("changed: a file alone is no longer read with its own class names")
if not refused:
    raise SystemExit("changed: concatenate_datasets no longer refuses different class names")
PY
