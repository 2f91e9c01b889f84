#!/usr/bin/env bash
# Package: datasets 5.2.0 (its "webdataset" loader), with pillow 13.0.0.
# Expected: a tar shard of images, each with a .json of its values, gives every sample its values, or is refused: a .json has no
#   schema, later samples may have further fields, and a number may be written as 1 or 0.5. Samples that disagree on them are
#   indeed refused while they are among the first five.
# Guess before running: a field that first appears in a later sample is dropped, or refused.
# What happens: types and fields are those of the first five samples. A later field is dropped, and so is a caption (.txt) that
#   the first five lack. A number that is whole in the first five loses its fraction in all others: 0.5 becomes 0. Nothing is
#   logged, and streaming does the same.
# Output seen:
#   scores written: 0, 1, 0, 1, 0, 0.5, 0.75; read: 0, 1, 0, 1, 0, 0, 0; streamed: 0, 1, 0, 1, 0, 0, 0
#   fields of sample 5: written caption, score, smiling; read score
#   written 0.0, 1.0, 0.0, 1.0, 0.0, 0.5, 0.75; read: 0.0, 1.0, 0.0, 1.0, 0.0, 0.5, 0.75
#   0.5 as the second score: refused
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
mkdir "$folder/data"
DATA="$folder/data" HF_HOME="$folder/data/home" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import datasets
import pyarrow as pa
from PIL import Image

datasets.disable_progress_bars()


def shard(scores):
    """A tar of an image and a .json for each score; samples from the sixth on also have a caption and a further field."""
    png = io.BytesIO()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    path = Path(tempfile.mkdtemp(dir=os.environ["DATA"])) / "train-000000.tar"
    with tarfile.open(path, "w") as archive:
        for i, score in enumerate(scores):
            late = i >= 5
            files = {"png": png.getvalue(), "json": json.dumps({"score": score} | ({"smiling": True} if late else {})).encode()}
            files |= {"txt": b"a face"} if late else {}
            for suffix, data in files.items():
                member = tarfile.TarInfo(f"{i:06d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return str(path)


def load(path, **options):
    cache = tempfile.mkdtemp(dir=os.environ["DATA"])
    return list(datasets.load_dataset("webdataset", data_files=path, split="train", cache_dir=cache, **options))


def show(values):
    return ", ".join(map(str, values))


scores = [0, 1, 0, 1, 0, 0.5, 0.75]
path = shard(scores)
rows, streamed = load(path), load(path, streaming=True)
read = [row["json"]["score"] for row in rows]
print(f"scores written: {show(scores)}; read: {show(read)}; streamed: {show(row['json']['score'] for row in streamed)}")
fields = sorted([*rows[5]["json"], *(["caption"] if "txt" in rows[5] else [])])
print(f"fields of sample 5: written caption, score, smiling; read {show(fields)}")
control = [row["json"]["score"] for row in load(shard(map(float, scores)))]
print(f"written {show(map(float, scores))}; read: {show(control)}")
try:
    load(shard([0, 0.5, *scores[2:]]))
    refused = False
except pa.ArrowTypeError:
    refused = True
print(f"0.5 as the second score: {'refused' if refused else 'read'}")

if read != [0, 1, 0, 1, 0, 0, 0] or [row["json"]["score"] for row in streamed] != read:
    raise SystemExit("changed: fractions after the fifth sample are no longer cut off")
if fields != ["score"]:
    raise SystemExit("changed: fields that appear after the fifth sample are no longer dropped")
if control != scores:
    raise SystemExit("changed: fractions are no longer kept where the first five samples have a decimal point")
if not refused:
    raise SystemExit("changed: whole numbers and fractions are no longer refused within the first five samples")
PY
