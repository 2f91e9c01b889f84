"""Options for an external attribute classifier, which several commands share."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.classifiers.request import Layout, Request, requested
from jaxdiff.bounds import Finite, Positive
from jaxdiff.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(CheckedOptions):
    """An attribute classifier from outside: an ONNX file, or a CLIP model and prompts."""

    decides: ClassVar[bool] = False
    """Whether the command decides which images are unsafe, and so takes a threshold of any classifier, and safety checkers."""

    classifier: Path | None = None
    """External attribute classifier: an ONNX file (needs onnxruntime), or the folder of a CLIP model, which classifies by
    --classifier-prompts; `embedded-clip` for the shipped one, which knows the embedded faces."""
    classifier_prompts: tuple[str, ...] = ()
    """With a CLIP model as --classifier: a prompt for each value of an attribute, "group: a photo of a man | a photo of a
    woman" or "group: VALUE=PROMPT | VALUE=PROMPT"; or a TOML file with a template, or a list of them, as `prompt`, and the
    texts of each attribute. Several prompts of a value are averaged."""
    classifier_values: tuple[str, ...] = ()
    """With an ONNX file as --classifier: names of its classes, in order; by default the evaluated values. Names in the file are
    matched by name."""
    classifier_mean: tuple[Finite, ...] = ()
    """With an ONNX file as --classifier: mean subtracted from the levels 0 to 255, one number or one for each of red, green and
    blue; by default 127.5. Not for a file that takes uint8."""
    classifier_scale: tuple[Positive, ...] = ()
    """With an ONNX file as --classifier: scale that the result is divided by, above 0, one or one for each channel; by default
    127.5."""
    classifier_layout: Layout | None = None
    """With an ONNX file as --classifier: whether its input is (N, C, H, W) or (N, H, W, C), where the file does not specify
    it."""
    classifier_size: str | None = None
    """With an ONNX file as --classifier: size that images are resized to, in pixels or as HEIGHTxWIDTH, where the file does not
    specify it; by default their own."""
    classifier_output: str | None = None
    """With an ONNX file as --classifier: name of the output with the answer, where there are several."""
    classifier_threshold: Finite | None = None
    """With an ONNX file as --classifier: above which a single score means the second value, where the file does not specify it:
    0.5 for a probability, 0 for a logit."""

    def __post_init__(self):
        super().__post_init__()
        request = self.request
        if request is None or self.decides:
            return
        if request.kind == "safety checker":
            raise InputError(f"--classifier {self.classifier} is a safety checker, which has no values of an attribute")
        if request.kind == "CLIP" and request.threshold is not None:
            raise InputError(
                f"--classifier-threshold is for an ONNX file, and --classifier {self.classifier} is the folder of a CLIP model"
            )

    @property
    def request(self) -> Request | None:
        """The classifier, as these options name it; None without one. Raises `InputError` as `requested`."""
        own = [field.name for field in fields(ClassifierOptions) if field.name.startswith("classifier_")]
        named = {name.removeprefix("classifier_"): getattr(self, name) for name in own}
        return requested("--classifier", self.classifier, **named)
