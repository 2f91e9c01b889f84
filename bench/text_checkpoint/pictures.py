"""A picture of what the pipeline draws, a row for each prompt."""

from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image

from bench.text_checkpoint.measuring import Drawing
from jaxdiff.data.embedded_captions import OCCUPATIONS, prompt

COLUMNS = 16
_ENLARGED = 2
PROMPTS = (
    prompt(group="square"),
    prompt(group="round"),
    *(prompt(occupation) for occupation in OCCUPATIONS),
    prompt(phrases=["with glasses"]),
    prompt(phrases=["with lipstick"]),
    prompt(phrases=["with a beard", "smiling"]),
    prompt("nurse", "square", ["with long hair", "with light hair", "on a warm background"]),
    "",
)


def write_pictures(file: Path, draw: Drawing, scale: float, steps: int) -> None:
    """Draws a row of images for each prompt, all rows from the same noise."""
    write_rows(file, [draw(text, count=COLUMNS, scale=scale, steps=steps) for text in PROMPTS])


def write_rows(file: Path, rows: list[Float[torch.Tensor, "n 3 h w"]]) -> None:
    """Writes rows of images in [-1, 1] as one PNG."""
    grid = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    pixels = ((grid + 1) * 127.5 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * _ENLARGED, picture.height * _ENLARGED), Image.Resampling.NEAREST).save(file)
