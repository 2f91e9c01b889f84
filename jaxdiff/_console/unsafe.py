"""Unsafe images as a drawing takes them: of the model's size and scale, decoded once and kept."""

import hashlib
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from jaxdiff._console import arguments
from jaxdiff.data import load_arrays, open_data
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError


def network_scaled(
    spec: str, split: str, shape: tuple[int, int, int], count: int | None, value_names: tuple[str, ...]
) -> Float32[np.ndarray, "n h w c"]:
    """The images of a data set in [-1, 1] at a model's size, from the cache where they were read before.

    The cache lies in $XDG_CACHE_HOME/jaxdiff, by default ~/.cache/jaxdiff. It is keyed by the name, the split, the size and,
    for files, by their sizes and times of change.

    Arguments:
        spec: as of `open_data`.
        split: its split.
        shape: of the model's images.
        count: how many to take, drawn by seed 0; None takes all.
        value_names: as of `--value-names`.

    Raises:
        InputError: no images, fewer than `count`, or a model whose images are not RGB.
    """
    height, width, channels = shape
    if channels != 3:
        raise InputError(f"unsafe images have 3 channels; the model draws images of {channels}")
    told = "|".join([spec, split, str(height), *value_names, *_state(spec)])
    file = _folder() / f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.npy"
    if file.exists():
        images = np.load(file, mmap_mode="r")
    else:
        source = open_data(spec, split=split, size=height, value_names=arguments.value_names(value_names))
        images = load_arrays(source)[0].astype(np.float32) / 127.5 - 1
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.stem}-{os.getpid()}.partial")
        with open(partial, "wb") as opened:
            np.save(opened, images)
        os.replace(partial, file)
    if count is None:
        return np.asarray(images)
    if count > len(images):
        raise InputError(f"--unsafe {spec} has {len(images)} images, too few for --unsafe-count {count}")
    return np.asarray(images[np.sort(np.random.default_rng(0).permutation(len(images))[:count])])


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxdiff"


def _state(spec: str) -> list[str]:
    """What tells whether the files behind a data set have changed; nothing for data sets without files."""
    path = Path(split_spec(spec)[0]).expanduser()
    if not path.exists():
        return []
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return [f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}" for file, stat in stats]
