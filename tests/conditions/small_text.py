"""Small text encoders with random weights, and their tokenizer."""

from pathlib import Path

from jaxdiff.conditions import PromptEncoder, Prompts, tokenizer_files
from jaxdiff.models.text_encoder import TextEncoderConfig
from tests.conditions.bpe import NAMES, parts
from tests.models.test_text_encoder import drawn


def encoder(folder: Path, width: int = 8, seed: int = 0, pad: str = "!", projection: int | None = None, **how) -> PromptEncoder:
    """A text encoder of two layers with a tokenizer of 12 tokens a prompt."""
    config = TextEncoderConfig(
        vocabulary=len(NAMES), width=width, layers=2, heads=2, inner=12, positions=12, projection=projection
    )
    tokenizer = tokenizer_files.read(parts(folder / f"tokenizer{seed}", pad=pad, model_max_length=12))
    return PromptEncoder(tokenizer, config, drawn(config, seed), **how)


def prompts(folder: Path, **how) -> Prompts:
    """One text encoder, as in Stable Diffusion 1 and 2."""
    return Prompts((encoder(folder),), **how)


def of_two(folder: Path, projection: int = 5, **how) -> Prompts:
    """Two, as in XL."""
    states = {"skip": 1, "normalised": False}
    pair = encoder(folder, **states), encoder(folder, 6, 1, projection=projection, **states)
    return Prompts(pair, **{"size": (64, 96), **how})
