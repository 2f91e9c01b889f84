"""The file of a subspace: its directions, and the model and attribute that they were found for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxdiff.boundary import parse_json
from jaxdiff.errors import InputError
from jaxdiff.fairness import AssociatedSubspace
from jaxdiff.npz_file import load_npz
from jaxdiff.writing import whole

from .setting import Setting


def context(chosen: Setting) -> dict[str, Any]:
    """What a subspace is valid for, JSON-ready."""
    return {"model": chosen.model.fingerprint, "attribute": chosen.name, **chosen.model.conditions.context()}


def write(path: Path, found: AssociatedSubspace, chosen: Setting) -> None:
    """Writes a subspace, whole or not at all."""
    with whole(path) as partial, open(partial, "wb") as opened:
        np.savez(opened, **found._asdict(), context=np.array(json.dumps(context(chosen))))


def read(path: Path) -> tuple[Float32[np.ndarray, "k ..."], dict[str, Any]]:
    """The directions of a file and their context.

    Raises:
        InputError: the file cannot be read or is not one of `jaxdiff sample subspace`.
    """
    arrays = load_npz(path, ("rows", "context"))
    rows, about = arrays.get("rows"), arrays.get("context")
    if rows is None or about is None or about.dtype.kind != "U" or about.ndim or rows.dtype != np.float32:
        raise InputError(f"--subspace {path} was not written by `jaxdiff sample subspace`")
    if rows.ndim < 2 or not rows.size or not np.isfinite(rows).all():
        raise InputError(f"--subspace {path} is damaged: its directions have shape {rows.shape}, or are not finite")
    return rows, parse_json(str(about), path)


def read_for(path: Path, chosen: Setting) -> Float32[np.ndarray, "k ..."]:
    """The directions of a file.

    Raises:
        InputError: as `read`, or they were found for another model or attribute.
    """
    rows, found = read(path)
    for name, wanted in context(chosen).items():
        if found.get(name) != wanted:
            raise InputError(
                f"--subspace {path} was found for another {name.replace('_', ' ')}: it has {found.get(name)!r}, this is "
                f"{wanted!r}; find it again with `jaxdiff sample subspace`"
            )
    if rows.shape[1:] != tuple(chosen.model.shape):
        raise InputError(f"--subspace {path} has directions of shape {rows.shape[1:]}, the model's are {chosen.model.shape}")
    return rows
