"""Unsafe samples in the space of a model; images are decoded and encoded once and cached."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxdiff._console import arguments, image_cache
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console
from jaxdiff._version import __version__
from jaxdiff.data import describe, load_arrays
from jaxdiff.data.files import digest
from jaxdiff.data.shown import open_shown
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError
from jaxdiff.spaces import Latents, Space

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
    links: bool = False,
    training: Mapping[str, Any] | None = None,
) -> Float32[np.ndarray, "n ..."]:
    """The images of a data set, or its windows of series, encoded in a model's space; prints what was understood of it.

    Windows are read anew each time. Images are read from the cache of `jaxdiff._console.image_cache` if they were decoded
    before, under a key of the content of the files, the split, the image shape and how they are read. Of a space of latents the
    latents are cached in place of the pixels, under a key that also has the autoencoder's fingerprint, scale and image size, so
    that each set is encoded once for each autoencoder and never used with another. Data sets of tfds are not cached, since what
    a name stands for may change.

    Arguments:
        spec: the data set, as for `open_data`.
        split: its split; None takes train of a data set with splits of its own, and all of one without.
        space: the model's space, which says what is read.
        count: number of images or windows, a random subset (seed 0); None takes all.
        value_names: as for `--value-names`.
        layout, range, links: as for `open_data`.
        training: what the model records of its training, by which windows are split.

    Raises:
        InputError: no images, fewer than `count`, or data of another kind than the model's.
    """
    # labels are not needed, so images whose labels are missing are used too
    source = open_shown(
        spec, space, split=split, attributes=(), training=training, layout=layout, range=range, links=links,
        value_names=arguments.value_names(value_names),
    )  # fmt: skip
    show_data(source)
    base, selected = split_spec(spec)
    path = Path(base).expanduser()
    pixels = lambda: _chosen(spec, load_arrays(source)[0], count, source.noun)  # noqa: E731
    if spec.startswith("tfds:") or not space.shown.image_files:
        return space.encode(pixels())
    reading = [str(each) for each in (selected, split, space.shown.shape, value_names, layout, range)]
    content = digest(path, links=links) if path.exists() else f"{base} of {__version__}"
    key = {"version": VERSION, "content": content, "reading": " ".join(reading)}
    unchanged = lambda: not path.exists() or digest(path, links=links) == content  # noqa: E731
    what = describe(source).splitlines()[0]
    if isinstance(space, Latents) and space.fingerprint:
        own = {"latents": json.dumps(space.encoded_by, sort_keys=True), "count": str(count)}
        found, failure = image_cache.cached(key | own, f"{what}, as {space}", lambda: space.encode(pixels()), unchanged)
    else:
        images, failure = image_cache.cached(key, what, lambda: np.asarray(load_arrays(source)[0]), unchanged)
        found = space.encode(_chosen(spec, images, count, source.noun))
    if failure:
        console.print(f"the images are not cached: {failure}", highlight=False, soft_wrap=True)
    return found


def _chosen(spec: str, images: np.ndarray, count: int | None, noun: str) -> np.ndarray:
    """A random subset of the images (seed 0), or all."""
    if count is None:
        return np.asarray(images)
    if count > len(images):
        raise InputError(f"--unsafe {spec} has {len(images)} {noun}, fewer than --unsafe-count {count}")
    return np.asarray(images)[np.sort(np.random.default_rng(0).permutation(len(images))[:count])]
