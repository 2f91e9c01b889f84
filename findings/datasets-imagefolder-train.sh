#!/usr/bin/env bash
# Package: datasets 5.2.0 (its "imagefolder" loader), with pillow 13.0.0.
# Expected: a folder per class, train/CLASS/*.png and test/CLASS/*.png, gives two splits with the same classes, and every image
#   is in the split of its folder. The documentation gives this layout, and CIFAR-100 and PASCAL VOC have a class "train".
# What happens: splits are recognised by name, as the documentation says, but at any depth of the path, and a file belongs to
#   every split whose name its path holds: the test images of class "train" are in the training split too. Without split
#   folders the class "train" is the training split and all other classes are left out. One file with the word "test" in
#   its name leaves out every other file. Nothing is logged.
# Output seen:
#   split folders: train 30 images, test 20 images; 10 in both: ['test/train/0.png', 'test/train/1.png'], ...
#   no split folders, 20 images: train 10 images
#   one file named test_shot.png, 21 images: test 1 images
#   without that file, 20 images: train 20 images
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
mkdir "$folder/data"
DATA="$folder/data" HF_HOME="$folder/data/home" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import os
import tempfile
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

datasets.disable_progress_bars()


def load(files):
    """The images of each split, identified by their value: the index of their file in the list."""
    root = Path(tempfile.mkdtemp(dir=os.environ["DATA"]))
    for value, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(root / file)
    splits = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=tempfile.mkdtemp(dir=os.environ["DATA"]))
    return {name: {files[np.asarray(row["image"])[0, 0]] for row in split} for name, split in splits.items()}


def count(splits):
    return ", ".join(f"{name} {len(files)} images" for name, files in splits.items())


classes = [f"{label}/{i}.png" for label in ("bus", "train") for i in range(10)]
both = load([f"train/{file}" for file in classes] + [f"test/{file}" for file in classes])
leaked = both["train"] & both["test"]
print(f"split folders: {count(both)}; {len(leaked)} in both: {sorted(leaked)[:2]}, ...")
plain = load(classes)
print(f"no split folders, 20 images: {count(plain)}")
people = [f"{label}/{i}.png" for label in ("man", "woman") for i in range(10)]
named = load([*people, "man/test_shot.png"])
print(f"one file named test_shot.png, 21 images: {count(named)}")
control = load(people)
print(f"without that file, 20 images: {count(control)}")

if leaked != {f"test/train/{i}.png" for i in range(10)}:
    raise SystemExit("changed: test images of class 'train' no longer are in the training split")
if not (plain.keys() == {"train"} and len(plain["train"]) == 10):
    raise SystemExit("changed: a class 'train' no longer hides the other classes")
if named != {"test": {"man/test_shot.png"}}:
    raise SystemExit("changed: one file name with 'test' no longer hides the other files")
if not len(control["train"]) == 20:
    raise SystemExit("changed: a plain folder of classes is no longer read whole")
PY
