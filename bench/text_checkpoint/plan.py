"""Sizes and lengths of the recipe. All results are functions of a plan, the number of threads and the machine's kernels."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SIZE = 32
"""Height and width of images in pixels."""
LATENT = 8
"""Height and width of latents."""
TOKENS = 77
"""Tokens of a prompt, as in CLIP."""


@dataclass(frozen=True)
class Plan:
    """How long each stage trains. Lengths are numbers of steps, not minutes, so that the result does not depend on the load.

    Attributes:
        seed: of the initial weights, the noise and the data.
        classifier_steps, autoencoder_steps, image_tower_steps, clip_steps, unet_steps: optimiser's steps.
        faces: images whose latents the UNet is trained on.
        held_out: rendered images that autoencoder and CLIP are measured on.
        drawn, drawing_steps: images that are drawn for each prompt and scale, and steps of DDIM.
    """

    seed: int = 0
    classifier_steps: int = 1500
    autoencoder_steps: int = 4000
    image_tower_steps: int = 400
    clip_steps: int = 800
    unet_steps: int = 5000
    faces: int = 40_000
    held_out: int = 1024
    drawn: int = 256
    drawing_steps: int = 25

    def description(self) -> dict[str, Any]:
        """As JSON, to compare with that of a work folder."""
        return asdict(self)


QUICK = Plan(
    classifier_steps=20, autoencoder_steps=20, image_tower_steps=20, clip_steps=20, unet_steps=20,
    faces=256, held_out=64, drawn=4, drawing_steps=2
)  # fmt: skip
"""A plan of minutes, which shows that every stage runs; its faces are noise."""


@dataclass(frozen=True)
class Work:
    """The folder of checkpoints and finished stages of a plan."""

    folder: Path
    plan: Plan

    def finished(self, stage: str) -> Path:
        """The folder that a finished stage leaves."""
        return self.folder / stage

    def state(self, stage: str) -> Path:
        """The file of an unfinished stage's state."""
        return self.folder / f"{stage}.state.pt"
