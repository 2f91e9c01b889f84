"""What the pipeline draws, compared with what its prompts say and with what is known of its data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from jaxtyping import Float
from scipy.stats import binomtest

from bench.text_checkpoint.classifier import AttributeClassifier
from bench.text_checkpoint.plan import LATENT, SIZE
from bench.text_checkpoint.printing import say
from jaxdiff.data.attributes import find
from jaxdiff.data.embedded import ATTRIBUTES
from jaxdiff.data.embedded_captions import OCCUPATIONS, PHRASES, prompt

_BATCH = 64


@dataclass(frozen=True)
class Share:
    """A share of `hits` among `count` images."""

    hits: int
    count: int

    def __str__(self) -> str:
        """The share with its 95 % interval (Wilson)."""
        interval = binomtest(self.hits, self.count).proportion_ci(method="wilson")
        return f"{self.hits / self.count:.3f} ({interval.low:.3f} to {interval.high:.3f})"


@dataclass(frozen=True)
class Drawn:
    """What was measured.

    Attributes:
        count, steps, scale: images for each prompt, steps of DDIM, and the scale at which agreement was measured.
        agreement: by attribute and value, the share of images that show the value that their prompt names.
        squares: by occupation and scale, the share of square faces drawn for the occupation.
    """

    count: int
    steps: int
    scale: float
    agreement: dict[tuple[str, str], Share] = field(default_factory=dict)
    squares: dict[str, dict[float, Share]] = field(default_factory=dict)


class Drawing:
    """The pipeline of a folder, loaded as it is, with DDIM."""

    def __init__(self, folder: Path):
        self.pipeline = StableDiffusionPipeline.from_pretrained(folder)
        self.pipeline.scheduler = DDIMScheduler.from_config(self.pipeline.scheduler.config)
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.unet.to(memory_format=torch.channels_last)

    def __call__(self, text: str, *, count: int, scale: float, steps: int, seed: int = 0) -> Float[torch.Tensor, "n 3 h w"]:
        """Images in [-1, 1]; those of two prompts begin at the same noise."""
        noise = torch.randn(count, 4, LATENT, LATENT, generator=torch.Generator().manual_seed(seed))
        parts = [
            self.pipeline(
                [text] * len(part), latents=part, guidance_scale=scale, num_inference_steps=steps, height=SIZE, width=SIZE,
                output_type="pt",
            ).images
            for part in noise.split(_BATCH)
        ]  # fmt: skip
        return torch.cat(parts) * 2 - 1


def value_prompts() -> dict[tuple[str, str], str]:
    """For each attribute and value a prompt that names it alone."""
    prompts = {}
    for attribute in ATTRIBUTES:
        for label, value in enumerate(attribute.values):
            named = {"phrases": [PHRASES[attribute.name][label]]} if attribute.name in PHRASES else {"group": value}
            prompts[attribute.name, value] = prompt(**named)
    return prompts


def measure(
    draw: Drawing, classifier: AttributeClassifier, *, count: int, scale: float, scales: Sequence[float], steps: int
) -> Drawn:
    """Draws and reads all images; the tables are in `tables`."""
    drawn = Drawn(count, steps, scale)
    for (name, value), text in value_prompts().items():
        column = find(ATTRIBUTES, name)
        shown = classifier.labels(draw(text, count=count, scale=scale, steps=steps))[:, column]
        drawn.agreement[name, value] = Share(int((shown == ATTRIBUTES[column].index(value)).sum()), count)
        say(f"{text!r}: {name} is {value} in {drawn.agreement[name, value]}")
    for occupation in OCCUPATIONS:
        drawn.squares[occupation] = {}
        for each in scales:
            groups = classifier.labels(draw(prompt(occupation), count=count, scale=each, steps=steps))[:, 0]
            drawn.squares[occupation][each] = Share(int((groups == 0).sum()), count)
            say(f"{occupation} at scale {each:g}: square in {drawn.squares[occupation][each]}")
    return drawn


def tables(drawn: Drawn) -> str:
    """The measurements in Markdown."""
    scales = list(next(iter(drawn.squares.values())))
    lines = [
        f"Share of images that show what their prompt names ({drawn.count} images a value, DDIM {drawn.steps}, scale "
        f"{drawn.scale:g}, 95 % intervals):",
        "",
        "| attribute | value | share |",
        "| --- | --- | --- |",
        *(f"| {name} | {value} | {share} |" for (name, value), share in drawn.agreement.items()),
        "",
        f"P(square | occupation) as drawn, by guidance scale ({drawn.count} images each, 95 % intervals):",
        "",
        "| occupation | in the captions | " + " | ".join(f"scale {scale:g}" for scale in scales) + " |",
        "| --- | --- |" + " --- |" * len(scales),
        *(
            f"| {occupation} | {OCCUPATIONS[occupation]:g} | " + " | ".join(str(share) for share in shares.values()) + " |"
            for occupation, shares in drawn.squares.items()
        ),
    ]
    return "\n".join(lines)
