"""Files of textual inversion (Gal et al. 2022): the embeddings that a new token of a prompt stands for."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxdiff.boundary import reading
from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.interop import weights

OF_ENCODERS = ("clip_l", "clip_g")
"""The names of the embeddings for each text encoder of XL, in their order."""
SHARED = "emb_params"
MOST_VECTORS = 2**10
"""Limit of the embeddings of a token."""


class TextEmbedding(NamedTuple):
    """A token and its embeddings.

    Attributes:
        token: the token.
        vectors: its embeddings for each text encoder, (n, D) each.
    """

    token: str
    vectors: tuple[Float32[np.ndarray, "n d"], ...]


def read(file: str | os.PathLike, token: str | None = None) -> TextEmbedding:
    """The embeddings in a file, and the token that they are for.

    Four forms are in use: `{TOKEN: (n, D)}` of diffusers, `{"string_to_param": {"*": (n, D)}, "name": TOKEN}` in a file of
    torch, `{"emb_params": (n, D)}`, and `{"clip_l": (n, D), "clip_g": (n, E)}` for the two text encoders of XL.

    Arguments:
        file: a file of safetensors or of torch.
        token: the token; by default the one that the file names, or else the name of the file without its suffix.

    Raises:
        InputError: the file is missing or damaged, or of another form.
    """
    file = Path(file)
    with reading(file):
        held = weights.read_file(file).held
        if not isinstance(held, Mapping):
            raise InputError(f"textual inversion has embeddings by name, got {shortened(type(held).__name__)}")
        named, found = _parts(held)
        vectors = tuple(_vectors(each) for each in found)
        if len({len(each) for each in vectors}) > 1:
            raise InputError(f"a token has as many embeddings for each text encoder, got {[len(each) for each in vectors]}")
        return TextEmbedding(token or named or file.stem, vectors)


def _parts(held: Mapping[Any, Any]) -> tuple[str | None, tuple[Any, ...]]:
    """The token that a file names, and its embeddings for each text encoder."""
    match held:
        case {"string_to_param": {"*": found}}:
            name = held.get("name")
            return (name if isinstance(name, str) else None), (found,)
        case {"clip_l": first, "clip_g": second}:
            return None, (first, second)
        case {"emb_params": found}:
            return None, (found,)
        case {**only} if len(only) == 1 and isinstance(token := next(iter(only)), str):
            return token, (only[token],)
    names = ", ".join(map(shortened, list(held)[:5])) or "nothing"
    raise InputError(f"textual inversion has a token, string_to_param, {SHARED}, or {' and '.join(OF_ENCODERS)}; got {names}")


def _vectors(array: Any) -> Float32[np.ndarray, "n d"]:
    """Embeddings as rows, checked."""
    if not isinstance(array, np.ndarray) or not (array.dtype.kind == "f" or array.dtype.name == "bfloat16"):
        raise InputError(f"embeddings must be an array of numbers, got {shortened(array)}")
    rows = np.array(array[None] if array.ndim == 1 else array, np.float32)
    if rows.ndim != 2 or not 1 <= len(rows) <= MOST_VECTORS or not rows.shape[1]:
        raise InputError(f"embeddings must have shape (n, D) with n up to {MOST_VECTORS:,}, got {array.shape}")
    if not np.isfinite(rows).all():
        raise InputError("embeddings must be finite numbers")
    return rows
