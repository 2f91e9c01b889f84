"""Unsafe images as a drawing takes them: in the space of the model, decoded once and kept."""

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
    """The images of a data set as a model's process sees them, from the cache where they were read before.

    The cache lies in $XDG_CACHE_HOME/jaxdiff, by default ~/.cache/jaxdiff. It holds images of bytes, and is keyed by the name,
    the split, the shape of the images and, for files, by their sizes and times of change.

    Arguments:
        spec: as of `open_data`.
        split: its split.
        space: the model's, which shows images.
        count: how many to take, drawn by seed 0; None takes all.
        value_names: as of `--value-names`.

    Raises:
        InputError: no images, fewer than `count`, or a model of something else than images.
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
        raise InputError(f"--unsafe {spec} has {len(images)} images, too few for --unsafe-count {count}")
    return space.encode(np.asarray(images[np.sort(np.random.default_rng(0).permutation(len(images))[:count])]))


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
