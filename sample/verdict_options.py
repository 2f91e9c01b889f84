"""Options of the verdict of `jaxdiff sample attack` that is not a classifier of a run."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.classifiers.request import Layout, Request, requested
from jaxdiff.bounds import Finite, Positive
from jaxdiff.errors import InputError

OTHERS = ("prompts", "values", "mean", "scale", "layout", "size", "output", "threshold")


@dataclass(frozen=True, kw_only=True)
class VerdictOptions(CheckedOptions):
    """The classifier that decides on the images of an attack."""

    verdict: Path
    """Another classifier of the same attribute, which decides on the images: the folder of a `jaxdiff train classifier` run,
    trained with another seed or on other images; an ONNX file (needs onnxruntime); the folder of a CLIP model or
    `embedded-clip`, with --verdict-prompts; or the folder of a Stable Diffusion safety checker. All but the first are given
    the images as bytes."""
    verdict_values: tuple[str, ...] = ()
    """With an ONNX file as --verdict: names of its classes, in order, among them those of --seek."""
    verdict_prompts: tuple[str, ...] = ()
    """With a CLIP model as --verdict: a phrase for each value, "glasses: no=a face without glasses | yes=a face with glasses",
    or a TOML file, as of `jaxdiff evaluate prompts --classifier-prompts`."""
    verdict_threshold: Finite | None = None
    """As --gate-threshold of `jaxdiff sample draw`: the score above which an image is unsafe."""
    verdict_mean: tuple[Finite, ...] = ()
    """With an ONNX file as --verdict: mean subtracted from the levels 0 to 255, one number or one for each channel; by default
    127.5."""
    verdict_scale: tuple[Positive, ...] = ()
    """With an ONNX file as --verdict: scale that the result is divided by, one number or one for each channel; by default
    127.5."""
    verdict_layout: Layout | None = None
    """With an ONNX file as --verdict: whether its input is (N, C, H, W) or (N, H, W, C), where the file does not specify it."""
    verdict_size: str | None = None
    """With an ONNX file as --verdict: size that images are resized to, where the file does not specify it; by default their
    own."""
    verdict_output: str | None = None
    """With an ONNX file as --verdict: name of the output with the answer, where there are several."""

    def verdict_request(self) -> Request | None:
        """The classifier from outside; None for a run of `train classifier`.

        Raises:
            InputError: as `Request`, or its options with a run.
        """
        from jaxdiff.weight_file import CLASSIFIER

        others = {name: getattr(self, f"verdict_{name}") for name in OTHERS}
        path, given = self.verdict, [name for name, value in others.items() if value not in ((), None)]
        # the folder of a run has a config.json too
        outside = (path / "config.json").is_file() and not (path / CLASSIFIER.file).is_file()
        foreign = (path.is_file() and path.suffix != ".safetensors") or outside
        if foreign or self.verdict_prompts:
            return requested("--verdict", path, **others)
        if given:
            raise InputError(f"--verdict-{given[0]} is for a classifier from outside, and --verdict {path} is none")
        return None
