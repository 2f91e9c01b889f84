"""Loads the classifiers that options name."""

from collections.abc import Sequence

from jaxdiff._console.arguments import image_size
from jaxdiff.conditions.templates import Descriptions

from . import clip_classifier, onnx_classifier
from .clip_classifier import ClipClassifier
from .onnx_classifier import OnnxClassifier
from .request import Request


def of_file(request: Request, values: Sequence[str]) -> OnnxClassifier:
    """The classifier of an ONNX file.

    Arguments:
        request: the options.
        values: the names of its classes, unless the options give them.

    Raises:
        InputError: as `onnx_classifier.load`.
    """
    return onnx_classifier.load(
        request.path, option=request.option, values=request.values or values, renamed=bool(request.values),
        layout=request.layout, size=image_size(request.size, request.flag("size")), mean=request.mean or None,
        scale=request.scale or None, output=request.output, threshold=request.threshold,
    )  # fmt: skip


def by_prompts(request: Request, given: Sequence[Descriptions]) -> tuple[ClipClassifier, ...]:
    """A classifier of each described attribute, of one CLIP model.

    Arguments:
        request: the options.
        given: the descriptions, from `clip_classifier.described`.

    Raises:
        InputError: as `clip_classifier.load`.
    """
    model = clip_classifier.load(request.path, request.option)
    return clip_classifier.classifiers(model, request.path, given, request.flag("prompts"))
