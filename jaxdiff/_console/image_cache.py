"""Decoded images in the cache, under a key that holds the content of the files that they were decoded from."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from jaxdiff._console import cache
from jaxdiff._console.sealed import intact, sealed, unsealed
from jaxdiff.errors import InputError
from jaxdiff.writing import whole

LIMIT = "JAXDIFF_IMAGE_CACHE_GIB"
"""The environment variable that limits the images in place of `cache.MOST`; 0 keeps none."""
SUFFIX = ".images"
_ABOUT = "about"


def cached(
    key: Mapping[str, str], what: str, load: Callable[[], np.ndarray], unchanged: Callable[[], bool]
) -> tuple[np.ndarray, str]:
    """The images of a set, from the cache or else loaded and then cached.

    Arguments:
        key: everything that the images are a function of; the content of files by their checksum.
        what: a description, for `jaxdiff cache list`.
        load: loads the images.
        unchanged: whether the files are still those of the key, asked once the images are loaded.

    Returns:
        The images, and why they could not be cached; empty if they are.

    Raises:
        InputError: the environment variable `LIMIT` is no number of GiB.
    """
    most, text = _limit(), json.dumps(key, sort_keys=True)
    file = cache.folder("images") / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}{SUFFIX}"
    if most and (content := intact(file)):
        with suppress(OSError):
            os.utime(file)
        return unsealed(content)["images"], ""
    loaded = load()
    if not most or loaded.nbytes > most or not unchanged():
        return loaded, ""
    try:
        cache.make_private(file.parent)
        with whole(file, private=True) as partial:
            partial.write_bytes(sealed({_ABOUT: np.array(what), "images": loaded}))
    except OSError as error:
        return loaded, f"cannot write {file}: {error.strerror or error}"
    except InputError as error:
        return loaded, str(error)
    cache.trim("images", most)
    return loaded, ""


def about(found: cache.Cached) -> str:
    """What a cached file of images was made from; empty for other files and damaged ones."""
    content = intact(found.file) if found.file.suffix == SUFFIX else b""
    return str(unsealed(content)[_ABOUT]) if content else ""


def _limit() -> int:
    text = os.environ.get(LIMIT)
    if not text:
        return cache.MOST
    try:
        limit = float(text)
        if 0 <= limit < float("inf"):
            return int(limit * 2**30)
    except ValueError:
        pass
    raise InputError(f"the environment variable {LIMIT} must be a number of GiB, 0 or more, got {text!r}")
