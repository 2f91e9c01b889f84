"""Unsafe images in the space of a model, decoded once and cached."""

import hashlib
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from jaxdiff._console import arguments
from jaxdiff.data import load_arrays, open_data
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError
from jaxdiff.spaces import Space, require_pixels


def encoded(
    spec: str, split: str, space: Space, count: int | None, value_names: tuple[str, ...]
) -> Float32[np.ndarray, "n ..."]:
    """The images of a data set, encoded in a model's space; read from the cache if they were loaded before.

    The cache is in $XDG_CACHE_HOME/jaxdiff, by default ~/.cache/jaxdiff. It stores uint8 images, keyed by name, split, image
    shape and, for files, their sizes and modification times.

    Arguments:
        spec: the data set, as for `open_data`.
        split: its split.
        space: the model's space, which must show images.
        count: number of images, a random subset (seed 0); None takes all.
        value_names: as for `--value-names`.

    Raises:
        InputError: no images, fewer than `count`, or a model of other data than images.
    """
    height, width, channels = require_pixels(space.shown, "the model").shape
    key = "|".join([spec, split, f"{height}x{width}x{channels}", *value_names, *_state(spec)])
    file = _folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
    if file.exists():
        images = np.load(file, mmap_mode="r")
    else:
        given = arguments.value_names(value_names)
        images = load_arrays(open_data(spec, split=split, size=(height, width), channels=channels, value_names=given))[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.stem}-{os.getpid()}.partial")
        with open(partial, "wb") as opened:
            np.save(opened, images)
        os.replace(partial, file)
    if count is None:
        return space.encode(np.asarray(images))
    if count > len(images):
        raise InputError(f"--unsafe {spec} has {len(images)} images, fewer than --unsafe-count {count}")
    return space.encode(np.asarray(images[np.sort(np.random.default_rng(0).permutation(len(images))[:count])]))


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxdiff"


def _state(spec: str) -> list[str]:
    """Sizes and modification times of the files of a data set, to detect changes; empty for data sets without files."""
    path = Path(split_spec(spec)[0]).expanduser()
    if not path.exists():
        return []
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return [f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}" for file, stat in stats]
