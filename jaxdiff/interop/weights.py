"""Files of weights: which of those in a folder are read, and their content. No code in any file is run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

from jaxdiff import torch_file
from jaxdiff.boundary import parse_json, read_json, reading, require_regular
from jaxdiff.errors import InputError
from jaxdiff.interop.files import CheckpointFiles, joined

STEM = "diffusion_pytorch_model"
"""The name of the weights of diffusers' networks, before `.safetensors` or `.bin`."""
TEXT_STEMS = ("model", "pytorch_model")
"""The names of the weights of networks of transformers."""
_EIGHT_BITS = re.compile(r"F[468](_.*)?")  # the numbers of safetensors with 8 bits or fewer
_POINTER = b"version https://git-lfs.github.com/spec/"


def _names(stems: Sequence[str]) -> re.Pattern[str]:
    """`STEM.safetensors` or `.bin`, or the index of the files that the weights are split over, with a variant's name or not."""
    stem = "|".join(stems)
    return re.compile(
        rf"(?:{stem})(?:\.(?P<variant>(?!\S+-of-\d)[\w-]+))?\.(?P<format>safetensors|bin)"  # not one of the files of an index
        rf"|(?:{stem})\.(?P<split>safetensors|bin)\.index(?:\.(?P<of>[\w-]+))?\.json"
    )


class Choice(NamedTuple):
    """The weights chosen in a folder.

    Attributes:
        name: the name of the file, or of the index of the files that they are split over.
        variant: their variant, such as `fp16`; None for the plain weights.
    """

    name: str
    variant: str | None


class Content(NamedTuple):
    """The content of files of weights.

    Attributes:
        held: arrays by name, or anything else that `torch.save` wrote.
        metadata: the strings in the header of a safetensors file.
    """

    held: Any
    metadata: dict[str, str]


def choose(files: CheckpointFiles, folder: str, variant: str | None = None, *, stems: Sequence[str] = (STEM,)) -> Choice:
    """The weights to read in a folder of diffusers: plain weights before a variant, safetensors before `.bin`, one file before
    several.

    Arguments:
        files: the files of the checkpoint.
        folder: the folder of the network in it.
        variant: the variant to read; by default none where there are plain weights, else the only variant.
        stems: the names of the weights, before their suffix.

    Raises:
        InputError: there are no weights, or not of this variant, or several variants and no plain weights.
    """
    there, pattern = files.inside(folder), _names(stems)
    found: dict[str | None, list[tuple[int, str]]] = {}
    for name in there:
        if part := pattern.fullmatch(name):
            rank = 2 * ((part["format"] or part["split"]) == "bin") + (part["split"] is not None)
            found.setdefault(part["variant"] or part["of"], []).append((rank, name))
    place = f"{files.label}/{folder}" if folder else files.label
    if not found:
        raise InputError(
            f"{place} has no weights, neither {stems[0]}.safetensors nor {stems[-1]}.bin; it has "
            f"{', '.join(there) or 'no files'}"
        )
    variants = sorted(name for name in found if name is not None)
    if variant is None and None not in found and len(variants) > 1:
        raise InputError(f"{place} has weights of the variants {', '.join(variants)}: choose one with `variant`")
    taken = variants[0] if variant is None and None not in found else variant
    if taken not in found:
        raise InputError(f"{place} has no weights of `variant` {variant}; its variants: {', '.join(variants) or 'none'}")
    return Choice(min(found[taken])[1], taken)


def present(files: CheckpointFiles, folder: str) -> bool:
    """Whether a folder of diffusers' networks has weights, of any variant."""
    return any(_names((STEM,)).fullmatch(name) for name in files.inside(folder))


def read(files: CheckpointFiles, folder: str, choice: Choice) -> Content:
    """The content of chosen weights, which may be split over several files.

    Raises:
        InputError: a file is missing, damaged, or of numbers that jaxdiff does not read.
    """
    file = files.path(joined(folder, choice.name))
    if file.suffix != ".json":
        return read_file(file)
    parts = read_json(file).get("weight_map")
    if not isinstance(parts, dict) or not parts or not all(isinstance(part, str) for part in parts.values()):
        raise InputError(f"{file} must have a weight_map, the file of each array by name")
    held = {}
    for name in sorted(set(parts.values())):
        if Path(name).name != name:
            raise InputError(f"{file} names {name}, which is outside its folder")
        if not files.has(joined(folder, name)):
            raise InputError(f"{file} names {name}, which is missing")
        part = read_file(files.path(joined(folder, name))).held
        wanted = [key for key, where in parts.items() if where == name]
        lacking = [key for key in wanted if not isinstance(part, dict) or key not in part]
        if lacking:
            raise InputError(f"{name} lacks {len(lacking)} arrays that {file} places in it: {', '.join(lacking[:5])} ...")
        held |= {key: part[key] for key in wanted}
    return Content(held, {})


def read_file(file: Path) -> Content:
    """The content of a file of safetensors or `torch.save`.

    Raises:
        InputError: it is missing, damaged, or of numbers that jaxdiff does not read.
    """
    require_regular(file)
    with reading(file), open(file, "rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise InputError(f"{file} is a pointer of Git LFS, not the weights: run `git lfs pull` in its repository")
    return _safetensors(file) if file.suffix == ".safetensors" else Content(torch_file.load(file), {})


def _safetensors(file: Path) -> Content:
    """The arrays of a safetensors file, and the strings in its header."""
    # NumPy alone has no bfloat16
    with (
        reading(file, "it may be incomplete: copy or download it again"),
        safetensors.safe_open(file, framework="flax") as opened,
    ):
        names = list(opened.keys())
        kinds = {name: opened.get_slice(name).get_dtype() for name in names}
        if eights := [name for name, kind in kinds.items() if _EIGHT_BITS.fullmatch(kind)]:
            raise InputError(
                f"{file} has {len(eights)} arrays of {kinds[eights[0]]}, 8 bits or fewer, e.g. {eights[0]}; jaxdiff reads "
                "float16, bfloat16, float32 and float64: take weights that are not quantised"
            )
        return Content({name: np.asarray(opened.get_tensor(name)) for name in names}, opened.metadata() or {})


def own_metadata(file: Path, content: Content) -> dict[str, Any] | None:
    """What `save` wrote into the header of weights, or None. Raises `InputError` if it is damaged."""
    if "jaxdiff" not in content.metadata:
        return None
    return parse_json(content.metadata["jaxdiff"], f"{file}: the jaxdiff metadata in its header")
