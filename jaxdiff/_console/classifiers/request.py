"""What options say of a classifier, checked before anything is loaded."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from jaxdiff import shipped
from jaxdiff._console.arguments import image_size
from jaxdiff.boundary import read_json, reading
from jaxdiff.errors import InputError

Layout = Literal["nchw", "nhwc"]
Kind = Literal["ONNX", "CLIP", "safety checker"]
CHECKER = "StableDiffusionSafetyChecker"
"""The class that the `config.json` of a safety checker names."""
_TAKEN: dict[Kind, tuple[str, ...]] = {
    "ONNX": ("values", "mean", "scale", "layout", "size", "output", "threshold"),
    "CLIP": ("prompts", "threshold"),
    "safety checker": ("threshold",),
}
_CALLED: dict[Kind, str] = {
    "ONNX": "an ONNX file", "CLIP": "the folder of a CLIP model", "safety checker": "the folder of a safety checker"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Request:
    """A classifier from outside, as options name it: `OPTION` the file or folder, `OPTION-values` and so on the others.

    Attributes:
        option: the option that names the file or folder, such as `--classifier`.
        path: the file or folder.
        prompts, values, mean, scale, layout, size, output, threshold: see the options.

    Raises:
        InputError: options that need one another, or that cannot be combined.
    """

    option: str
    path: Path
    prompts: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    layout: Layout | None = None
    size: str | None = None
    output: str | None = None
    threshold: float | None = None

    def __post_init__(self):
        image_size(self.size, self.flag("size"))
        given = [field.name for field in fields(self)[2:] if getattr(self, field.name) not in ((), None)]
        if self.kind == "CLIP" and not self.prompts:
            raise InputError(
                f"{self.option} {self.path} is a folder, of a CLIP model: it needs {self.flag('prompts')}, such as "
                '"group: a photo of a man | a photo of a woman"'
            )
        if other := next((name for name in given if name not in _TAKEN[self.kind]), None):
            takers = " or ".join(_CALLED[kind] for kind, taken in _TAKEN.items() if other in taken)
            raise InputError(f"{self.flag(other)} is for {takers}, and {self.option} {self.path} is {_CALLED[self.kind]}")

    @cached_property
    def kind(self) -> Kind:
        """What the file or folder holds. Raises `InputError` if a `config.json` cannot be read."""
        folder = shipped.place(self.path)
        with reading(f"{self.option} {self.path}"):
            config = folder / "config.json"
            if config.is_file() and read_json(config).get("architectures") == [CHECKER]:
                return "safety checker"
        return "CLIP" if folder.is_dir() or (self.prompts and not folder.is_file()) else "ONNX"

    def flag(self, name: str) -> str:
        """The option of one of the others."""
        return f"{self.option}-{name}"


def requested(option: str, path: Path | None, **others: Any) -> Request | None:
    """The request of options; None without a classifier.

    Arguments:
        option, path: see `Request`.
        others: its other attributes.

    Raises:
        InputError: as `Request`, or others without a classifier.
    """
    if path is not None:
        return Request(option=option, path=path, **others)
    image_size(others.get("size"), f"{option}-size")
    if given := [name for name, value in others.items() if value not in ((), None)]:
        raise InputError(f"{option}-{given[0]} needs {option}, got it without")
    return None
