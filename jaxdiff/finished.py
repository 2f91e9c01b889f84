"""Finished parts of a long computation, kept under keys that hold everything they depend on, so that none is computed twice."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np

Result = TypeVar("Result")


@runtime_checkable
class Finished(Protocol):
    """Where finished parts are kept: arrays by name, under a key of `key_of`. A dict is one, and lasts as long as its process.

    In a run of several processes all of them call its methods alike, and get the same answers.
    """

    def __contains__(self, key: object, /) -> bool:
        """Whether the arrays under a key are finished, so that `get` returns them."""
        ...

    def get(self, key: str, /) -> Mapping[str, np.ndarray] | None:
        """The arrays under a key, bit for bit as they were kept; None for a key that is not finished."""
        ...

    def __setitem__(self, key: str, arrays: Mapping[str, np.ndarray], /) -> None:
        """Keeps arrays, by names of any characters, under a key: when it returns, a kill no longer loses them.

        Raises:
            InputError: they cannot be kept, for example since the disk is full.
        """
        ...


def key_of(kind: str, *dependencies: Any) -> str:
    """The key of a finished part: its kind, and a checksum of everything that it is a function of.

    Arguments:
        kind: what it is, in lower case: `classifier`.
        dependencies: pytrees of arrays, numbers and strings.
    """
    return f"{kind}-{checksum(dependencies)}"


def once(finished: Finished | None, key: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """The arrays that are finished under a key, or else the computed ones, which are then kept.

    Arguments:
        finished: where they are kept; None keeps nothing.
        key: from `key_of`.
        compute: computes them; all processes of a run get the same arrays.
    """
    if finished is None:
        return compute()
    found = finished.get(key)
    if found is None:
        found = compute()
        finished[key] = found
    return found


def once_json(finished: Finished | None, key: str, compute: Callable[[], Any]) -> Any:
    """As `once`, of a JSON-serialisable value with numbers of any kind; NaN and infinity are kept."""
    found = once(finished, key, lambda: {"json": np.array(json.dumps(compute()))})
    return json.loads(str(found["json"]))


Part = tuple[str, str, Callable[[], Result]]
"""A part of a computation: a description, its key, and a function that takes the finished result or computes and keeps it."""


def run_all(
    finished: Finished | None, parts: Sequence[Part[Result]], progress: Callable[[str, int, int], None] | None
) -> list[Result]:
    """Runs parts in their order, each of which keeps its result, and reports those that have to be computed.

    Arguments:
        finished: where they keep their results; None keeps nothing.
        parts: the parts; of several with one key the first computes it for all.
        progress: called with a description, the parts done and their number; first with those that were finished.

    Returns:
        What each function returns.
    """
    # each key is looked up once
    absent = {key: finished is None or key not in finished for key in dict.fromkeys(key for _, key, _ in parts)}
    done, results = sum(not absent[key] for _, key, _ in parts), []
    for description, key, run in parts:
        if absent[key]:
            if progress:
                progress(description, done, len(parts))
            done += 1
        results.append(run())
    if progress:
        progress("done", len(parts), len(parts))
    return results


def file_checksum(*files: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file; of several, of the SHA-256 of each."""
    digests = []
    for file in files:
        with open(file, "rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256"))
    digest = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(each.digest() for each in digests))
    return digest.hexdigest()[:16]


def checksum(tree: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a pytree of arrays: paths, types, shapes and values."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        leaf = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path, simple=True, separator='/')} {leaf.dtype} {leaf.shape}\n".encode())
        # fails for objects, whose bytes are addresses
        digest.update(leaf.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16]
