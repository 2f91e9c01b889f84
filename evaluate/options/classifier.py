"""Options for an external attribute classifier, which several commands share."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from jaxdiff import shipped
from jaxdiff._console.arguments import CheckedOptions, image_size
from jaxdiff.bounds import Finite, Positive
from jaxdiff.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(CheckedOptions):
    """An attribute classifier from outside: an ONNX file, or a CLIP model and prompts."""

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
    classifier_layout: Literal["nchw", "nhwc"] | None = None
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
        image_size(self.classifier_size, "--classifier-size")
        own = [field.name for field in fields(ClassifierOptions) if field.name.startswith("classifier_")]
        given = [name for name in own if getattr(self, name) not in ((), None)]
        if self.classifier is None and given:
            raise InputError(f"{_flag(given[0])} needs --classifier, got it without")
        if self.classifier and self.classifier_prompts and self.classifier.is_file():
            raise InputError(
                f"--classifier-prompts is for the folder of a CLIP model, and --classifier {self.classifier} is none"
            )
        if self.by_prompts and not self.classifier_prompts:
            raise InputError(
                f"--classifier {self.classifier} is a folder, of a CLIP model: it needs --classifier-prompts, such as "
                '"group: a photo of a man | a photo of a woman"'
            )
        if self.by_prompts and (other := next((name for name in given if name != "classifier_prompts"), None)):
            raise InputError(
                f"{_flag(other)} is for an ONNX file, and --classifier {self.classifier} is the folder of a CLIP model"
            )

    @property
    def by_prompts(self) -> bool:
        """Whether the classifier is a CLIP model."""
        return self.classifier is not None and (bool(self.classifier_prompts) or shipped.place(self.classifier).is_dir())


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
