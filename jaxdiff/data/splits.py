"""Disjoint splits that never change: the split of an element is a function of its key alone."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Shaped

from jaxdiff.errors import InputError

SPLITS = ("train", "validation", "test")
_BY_NAME = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def uniform(key: str) -> float:
    """A fixed number in [0, 1) for a key, uniform over keys (64 bits of its BLAKE2b hash)."""
    # names of files may have bytes that are no text
    return int.from_bytes(hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).digest()) / 2**64


def by_hash(keys: Iterable[str]) -> Shaped[np.ndarray, " n"]:
    """Train, validation or test for each key, with probabilities 0.8, 0.1 and 0.1.

    Adding or removing elements does not change the split of any other.
    """
    return np.array([SPLITS[(u >= 0.8) + (u >= 0.9)] for u in map(uniform, keys)], dtype="<U10")


def named(name: str) -> str | None:
    """The split that a folder's name means, e.g. validation for `val`, in capitals or not; None if it is none."""
    return _BY_NAME.get(name.lower())


def completed(assigned: Shaped[np.ndarray, " n"], keys: Sequence[str]) -> Shaped[np.ndarray, " n"]:
    """The splits, where validation or test, if no element has it, is taken from train by the hash of the keys."""
    lacking = [split for split in SPLITS[1:] if split not in assigned]
    derived = by_hash(keys)
    return np.where((assigned == "train") & np.isin(derived, lacking), derived, assigned)


def check(split: str) -> None:
    """Raises `InputError` unless `split` is train, validation, test or all."""
    if split not in (*SPLITS, "all"):
        raise InputError(f"unknown split {split!r}; expected {', '.join(SPLITS)} or all")


def members(assigned: Shaped[np.ndarray, " n"], split: str, name: str) -> Shaped[np.ndarray, " m"]:
    """The indices of the elements of a split, in order. Raises `InputError` for an unknown or an empty split."""
    check(split)
    indices = np.arange(len(assigned)) if split == "all" else np.flatnonzero(assigned == split)
    if not len(indices):
        sizes = ", ".join(f"{np.count_nonzero(assigned == each)} {each}" for each in SPLITS)
        raise InputError(f"split {split!r} of {name} is empty; the elements are {sizes}")
    return indices
