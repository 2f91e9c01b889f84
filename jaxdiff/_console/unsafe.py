"""Unsafe images in the space of a model, decoded once and cached."""

import hashlib
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from jaxdiff._console import arguments
from jaxdiff._console.reading import show_data
from jaxdiff.data import Source, load_arrays, open_data
from jaxdiff.data.files import state
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError
from jaxdiff.spaces import Space, require_pixels

VERSION = "2"
"""Of the cache: a change of how files become pixels makes cached images old."""


def encoded(
    spec: str,
    split: str | None,
    space: Space,
    count: int | None,
    value_names: tuple[str, ...],
    *,
    layout: str | None = None,
    range: tuple[int | float, int | float] | None = None,
) -> Float32[np.ndarray, "n ..."]:
    """The images of a data set, encoded in a model's space; prints what was understood of it.

    Their pixels are read from the cache if they were loaded before. The cache is in $XDG_CACHE_HOME/jaxdiff, by default
    ~/.cache/jaxdiff. It stores uint8 images, keyed by name, split, image shape, how they are read and, for files, their sizes
    and modification times. Data sets of tfds are not cached, since what a name stands for may change.

    Arguments:
        spec: the data set, as for `open_data`.
        split: its split; None takes train of a data set with splits of its own, and all of one without.
        space: the model's space, which must show images.
        count: number of images, a random subset (seed 0); None takes all.
        value_names: as for `--value-names`.
        layout, range: as for `open_data`.

    Raises:
        InputError: no images, fewer than `count`, or a model of other data than images.
    """
    height, width, channels = require_pixels(space.shown, "the model").shape
    # labels are not needed, so images whose labels are missing are used too
    source = open_data(
        spec, split=split, size=(height, width), channels=channels, attributes=(), layout=layout, range=range,
        value_names=arguments.value_names(value_names),
    )  # fmt: skip
    show_data(source)
    how = [str(split), f"{height}x{width}x{channels}", *value_names, str(layout), str(range)]
    files = state(Path(split_spec(spec)[0]).expanduser())
    images = load_arrays(source)[0] if spec.startswith("tfds:") else _cached(source, [VERSION, spec, *how, files])
    if count is None:
        return space.encode(np.asarray(images))
    if count > len(images):
        raise InputError(f"--unsafe {spec} has {len(images)} images, fewer than --unsafe-count {count}")
    return space.encode(np.asarray(images[np.sort(np.random.default_rng(0).permutation(len(images))[:count])]))


def _cached(source: Source, key: list[str]) -> UInt8[np.ndarray, "n h w c"]:
    """The images of a source, from the file of this key, which is written if there is none."""
    file = _folder() / f"{hashlib.sha256('|'.join(key).encode()).hexdigest()[:24]}.npy"
    if file.exists():
        return np.load(file, mmap_mode="r")
    images = load_arrays(source)[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.stem}-{os.getpid()}.partial")
    with open(partial, "wb") as opened:
        np.save(opened, images)
    os.replace(partial, file)
    return images


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxdiff"
