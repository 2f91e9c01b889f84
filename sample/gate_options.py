"""Options of the gates of `jaxdiff sample draw`: the last layers of safety, which decide on prompts and drawn images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.classifiers.request import Layout, Request, requested
from jaxdiff.bounds import Bounds, Finite, Positive
from jaxdiff.errors import InputError

Policy = Literal["refuse", "redraw", "mark"]
REDRAWS = 4


@dataclass(frozen=True, kw_only=True)
class GateOptions(CheckedOptions):
    """The classifiers of images and prompts, and what is done with those that are unsafe."""

    gate: Path | None = None
    """Image gate, which classifies every drawn image: an ONNX file (needs onnxruntime); the folder of a CLIP model, which
    classifies by --gate-prompts, or `embedded-clip`; or the folder of a Stable Diffusion safety checker, `safety_checker/` of a
    pipeline."""
    gate_prompts: tuple[str, ...] = ()
    """With a CLIP model as --gate: a phrase for each value, "glasses: no=a face without glasses | yes=a face with glasses", or
    a TOML file, as of `jaxdiff evaluate prompts --classifier-prompts`."""
    gate_values: tuple[str, ...] = ()
    """With an ONNX file as --gate: names of its classes, in order."""
    gate_unsafe: tuple[str, ...] = ()
    """The values of --gate-prompts or --gate-values that are unsafe. A safety checker has its own concepts."""
    gate_threshold: Finite | None = None
    """Score of an unsafe value above which an image is unsafe: of a CLIP model its probability among the prompts, of an ONNX
    file what it answers. By default an image is unsafe if an unsafe value has the largest score. Of a safety checker the score
    of a concept, 0 by default; below 0 it is stricter."""
    gate_mean: tuple[Finite, ...] = ()
    """With an ONNX file as --gate: mean subtracted from the levels 0 to 255, one number or one for each channel; by default
    127.5."""
    gate_scale: tuple[Positive, ...] = ()
    """With an ONNX file as --gate: scale that the result is divided by, one number or one for each channel; by default
    127.5."""
    gate_layout: Layout | None = None
    """With an ONNX file as --gate: whether its input is (N, C, H, W) or (N, H, W, C), where the file does not specify it."""
    gate_size: str | None = None
    """With an ONNX file as --gate: size that images are resized to, where the file does not specify it; by default their
    own."""
    gate_output: str | None = None
    """With an ONNX file as --gate: name of the output with the answer, where there are several."""
    prompt_gate: Path | None = None
    """Prompt gate, which decides on the prompt before an image is drawn: the folder of a CLIP model, or `embedded-clip`."""
    prompt_gate_concepts: tuple[str, ...] = ()
    """With --prompt-gate: phrases that describe unsafe concepts. One that ends with .txt is a text file with a phrase on each
    line."""
    prompt_gate_threshold: Annotated[float, Bounds(least=-1, most=1)] | None = None
    """With --prompt-gate: a prompt is unsafe if its text vector and that of a concept have a cosine above this."""
    gate_policy: Policy = "refuse"
    """What is done with an unsafe image. refuse: a black image is stored in its place, which no evaluation counts as an image;
    redraw: it is drawn again from other noise, up to --gate-redraws times, and then refused; mark: it is stored, and noted.
    Images of unsafe prompts are not drawn, with mark they are."""
    gate_redraws: Annotated[int, Bounds(least=1, most=1000)] = REDRAWS
    """With --gate-policy redraw: how many times an image is drawn again."""

    def __post_init__(self):
        super().__post_init__()
        if self.gate_request is None and self.gate_unsafe:
            raise InputError("--gate-unsafe needs --gate, got it without")
        if self.prompt_gate is None and (self.prompt_gate_concepts or self.prompt_gate_threshold is not None):
            name = "concepts" if self.prompt_gate_concepts else "threshold"
            raise InputError(f"--prompt-gate-{name} needs --prompt-gate, got it without")
        if self.prompt_gate is not None and (not self.prompt_gate_concepts or self.prompt_gate_threshold is None):
            raise InputError("--prompt-gate needs --prompt-gate-concepts and --prompt-gate-threshold")
        if self.gate_policy != "refuse" and self.gate is None and self.prompt_gate is None:
            raise InputError(f"--gate-policy {self.gate_policy} needs --gate or --prompt-gate")
        if self.gate_policy == "redraw" and self.gate is None:
            raise InputError("--gate-policy redraw needs --gate: a prompt is as unsafe with other noise")
        if self.gate_redraws != REDRAWS and self.gate_policy != "redraw":
            raise InputError(f"--gate-redraws is for --gate-policy redraw, got --gate-policy {self.gate_policy}")

    @property
    def gate_request(self) -> Request | None:
        """The image gate, as these options name it; None without one. Raises `InputError` as `requested`."""
        return requested(
            "--gate", self.gate, prompts=self.gate_prompts, values=self.gate_values, mean=self.gate_mean,
            scale=self.gate_scale, layout=self.gate_layout, size=self.gate_size, output=self.gate_output,
            threshold=self.gate_threshold,
        )  # fmt: skip
