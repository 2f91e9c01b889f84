"""Files of arrays with their own checksum: one that is damaged or cut off is noticed when it is read."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_DIGITS = 64  # of a SHA-256


def sealed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of a file of arrays: the SHA-256 of the rest, and an npz file without pickle."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # ty: ignore[invalid-argument-type]  # no array is named `allow_pickle`
    return hashlib.sha256(buffer.getbuffer()).hexdigest().encode() + buffer.getbuffer()


def intact(file: Path, *, checked: bool = False) -> bytes:
    """The npz file in a file of `sealed`; empty if there is none, it cannot be read, or it is damaged.

    Arguments:
        file: the file.
        checked: it was found intact before, and its checksum is not computed again.
    """
    try:
        content = file.read_bytes()
    except OSError:
        return b""
    digest, content = content[:_DIGITS], content[_DIGITS:]
    return content if checked or hashlib.sha256(content).hexdigest().encode() == digest else b""


def unsealed(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an intact npz file."""
    with np.load(io.BytesIO(content), allow_pickle=False) as opened:
        return dict(opened)
