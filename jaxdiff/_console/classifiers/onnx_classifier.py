"""A classifier of images from an ONNX file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from jaxdiff.boundary import line, reading, require_regular
from jaxdiff.errors import InputError
from jaxdiff.finished import file_checksum

from . import onnx_graph
from .onnx_input import InputFormat, input_format
from .onnx_output import OutputFormat
from .request import Layout

BATCH = 64
"""Images a run, where the file takes any number."""
TOLERANCE = 1e-2
"""The largest difference between two answers for one image that is rounding, relative to the largest score."""


@dataclass(frozen=True)
class OnnxClassifier:
    """A classifier that runs in onnxruntime.

    Attributes:
        session: the loaded network.
        input: how it takes images.
        output: how its answers are read.
        about: file name, checksum, and what was read off the file.
    """

    session: Any
    input: InputFormat
    output: OutputFormat
    about: dict[str, Any]

    @property
    def named(self) -> str:
        """How errors name it: its option and its file."""
        return f"{self.output.option} {self.output.file}"

    @property
    def option(self) -> str:
        """The option that names its values."""
        return f"{self.output.option}-values"

    @property
    def check(self) -> str:
        """What can be wrong if it is mostly wrong."""
        option = self.output.option
        return f"the order of {option}-values, and {option}-mean and {option}-scale"

    @property
    def values(self) -> tuple[str, ...]:
        """The names of its classes, in order."""
        return self.output.values

    @property
    def identity(self) -> tuple[Any, ...]:
        """Everything that its answers depend on beside the images, for keys."""
        return self.about, repr(self.input), repr(self.output)

    def predict(
        self, images: UInt8[np.ndarray, "n h w c"], *, advance: Callable[[int], Any] | None = None
    ) -> Int[np.ndarray, " n"]:
        """The class of each image; see `jaxdiff.spaces.rgb`.

        Arguments:
            images: uint8 (N, H, W, C), at least one.
            advance: called with the number of images done since the last call.

        Raises:
            InputError: an image at which the network fails, or answers NaN, infinity or no class.
        """
        return self._each(images, self.output.classes, advance)

    def above(self, images: UInt8[np.ndarray, "n h w c"], chosen: Sequence[int], threshold: float) -> Bool[np.ndarray, " n"]:
        """Whether the score of one of the chosen classes is above a threshold, see `OutputFormat.above`.

        Raises:
            InputError: as `predict`, or an answer without scores.
        """
        return self._each(images, lambda answers, count: self.output.above(answers, count, chosen, threshold))

    def _each(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        read: Callable[[dict[str, Any], int], np.ndarray],
        advance: Callable[[int], Any] | None = None,
    ) -> np.ndarray:
        """What is read of the answers for each image."""
        found, size = [], self.input.batch or BATCH
        for start in range(0, len(images), size):
            part = images[start : start + size]
            with reading(self.named):
                found.append(read(self._asked(part), len(part)))
            if advance:
                advance(len(part))
        return np.concatenate(found)

    def tried(self, image: UInt8[np.ndarray, "h w c"]) -> "OnnxClassifier":
        """Asks for one image alone and beside its negative. A network that takes only single images is asked one by one.

        Returns:
            The classifier, as it is to be used.

        Raises:
            InputError: as in `predict`, or an answer that depends on the other images of a batch or changes between two runs.
        """
        pair, alone = np.stack([image, 255 - image]), replace(self, input=replace(self.input, batch=self.input.batch or 1))
        alone.predict(pair)
        usable = self
        try:
            self.predict(pair)
        except InputError:
            if self.input.batch is not None:
                raise
            usable = alone
        with reading(self.named):
            first, again, beside = (alone._numbers(pair[:1]), alone._numbers(pair[:1]), usable._numbers(pair)[:1])
        for other in (again, beside):
            if np.abs(other - first).max(initial=0) > TOLERANCE * np.abs(first).max(initial=0):
                raise InputError(
                    f"{self.named} answers one image differently a second time or beside another image: was "
                    "it exported in training mode?"
                )
        return usable

    def _numbers(self, images: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
        """All numbers that the network answers for images, (N, ...)."""
        size, rows = self.input.batch or len(images), []
        for start in range(0, len(images), size):
            answers = self._asked(images[start : start + size]).values()
            tables = [np.array([list(row.values()) for row in each]) if isinstance(each, list) else each for each in answers]
            numbers = [each.reshape(len(each), -1) for each in tables if each.dtype.kind in "iufb"]
            rows.append(np.concatenate([np.empty((len(tables[0]), 0)), *numbers], axis=1))
        return np.concatenate(rows)

    def _asked(self, images: UInt8[np.ndarray, "n h w c"]) -> dict[str, Any]:
        """The answers for at most one batch of images, which is padded with its last one, by the name of the output."""
        given, count = self.input.arrays(images), len(images)
        if self.input.batch:
            given = given[np.minimum(np.arange(self.input.batch), count - 1)]
        try:
            answers = self.session.run(list(self.output.outputs), {self.input.name: given})
        except Exception as error:  # the exceptions of onnxruntime have no common base class
            raise InputError(f"{self.named} fails at images of {images.shape[1]}x{images.shape[2]}: {_line(error)}") from error
        if len(given) == 1:
            # an export of one image may lack the axis of images
            answers = [each if np.ndim(each) and len(each) == 1 else np.asarray(each)[None] for each in answers]
        of_images = {name: each for name, each in zip(self.output.outputs, answers, strict=True) if np.ndim(each)}
        of_images = {name: each[:count] for name, each in of_images.items() if len(each) == len(given)}
        if not of_images:
            shapes = ", ".join(str(np.shape(each)) for each in answers)
            raise InputError(f"{self.named} answers {len(given)} images with {shapes}")
        return of_images


def load(
    path: Path,
    *,
    option: str,
    values: Sequence[str],
    renamed: bool = True,
    layout: Layout | None = None,
    size: tuple[int, int] | None = None,
    mean: float | Sequence[float] | None = None,
    scale: float | Sequence[float] | None = None,
    output: str | None = None,
    threshold: float | None = None,
) -> OnnxClassifier:
    """Loads a classifier from an ONNX file, and reads off it what it takes; see `OnnxClassifier.tried`.

    Arguments:
        path: the file; files of its weights lie beside it.
        option: the option that names it, for errors.
        values: the names of its classes, in order; by name where the file names them.
        renamed: whether `values` was given for this file, and replaces names in it that differ.
        layout, size, mean, scale: see `input_format`.
        output: the name of the output to read, where several can be the answer.
        threshold: above which a single score means the second class, where the file does not specify it.

    Raises:
        InputError: no onnxruntime, no such file, or a network that takes no images.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{option} needs onnxruntime: pip install 'jaxdiff[onnx]'") from error
    what = f"{option} {path}"
    with reading(what, "export it again"):
        require_regular(path)
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4  # what fails is raised too
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of onnxruntime have no common base class
            raise InputError(f"{what} cannot be read as ONNX: {_line(error)}") from error
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise InputError(f"{option} must take one input, {path} takes {', '.join(each.name for each in inputs)}")
        graph = onnx_graph.read(path)
        taken = input_format(inputs[0], file=path, option=option, layout=layout, size=size, mean=mean, scale=scale)
        read = OutputFormat.of(
            path, [each.name for each in session.get_outputs()], graph, option=option, values=values, renamed=renamed,
            output=output, threshold=threshold,
        )  # fmt: skip
        digest = file_checksum(path, *(_beside(path, name, option) for name in graph.external))[:12]
        about = {"file": path.name, "sha256": digest, "input": taken.describe(), "classes": list(values)}
        return OnnxClassifier(session, taken, read, about)


def _beside(path: Path, name: str, option: str) -> Path:
    """A file of weights that an ONNX file names. Raises `InputError` unless it lies in its folder, as a regular file."""
    file = path.parent / name
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{option} {path} has weights in {name}, which is outside its folder")
    require_regular(file)
    return file


def _line(error: Exception) -> str:
    """The first line of an exception of onnxruntime, without its code."""
    return line(error).removeprefix("[ONNXRuntimeError] : ")
