"""The workload of both frameworks in `evaluate speed` with a text-to-image network: a random pipeline and prompts."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxdiff import guidance
from jaxdiff._console.flops import matrix_flops
from jaxdiff.conditions import PromptEncoder, Prompts, Tokenizer, tokenizer_files
from jaxdiff.conditions.tokenizer import library
from jaxdiff.interop import scheduler
from jaxdiff.model import Model
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.network import Network, condition_unet, latent_decoder, latent_encoder, text_encoder
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.process import Process
from jaxdiff.solvers import DDIM
from jaxdiff.spaces import Latents

from .speed_workload import Workload, randomised

SCALE = 7.5
"""The guidance scale."""
INTERVAL = (0.05, 5.0)
"""The SNR within which the task `interval` guides: 13 of 20 steps. A grid of fewer than 5 steps begins within it."""
PROMPTS = ("a photo of the face of a firefighter", "a photo of the face of a nurse")
SCHEDULE = {
    "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
"""The scheduler of Stable Diffusion, with DDIM."""


@dataclass(frozen=True)
class Shapes:
    """The shapes of the networks of a pipeline.

    Attributes:
        unet, vae, text: their configurations.
    """

    unet: ConditionUNetConfig
    vae: AutoencoderConfig
    text: TextEncoderConfig


TOKENS = 2 * 256 + 2
"""Bytes, bytes that end a word, the begin and the end of a prompt."""


@cache
def byte_tokenizer() -> Tokenizer:
    """A tokenizer of CLIP's form without merges: a token is a byte."""
    letters = sorted(library().pre_tokenizers.ByteLevel.alphabet())
    begin, end = "<|startoftext|>", "<|endoftext|>"
    names = [*letters, *(f"{letter}</w>" for letter in letters), begin, end]
    settings = {"model_max_length": 77, "bos_token": begin, "eos_token": end, "unk_token": end, "pad_token": end}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(names)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return tokenizer_files.read(folder)


def _of_stable_diffusion(size: int, part: int, **text: Any) -> Shapes:
    """Stable Diffusion 1.5 with one `part`-th of its channels, for images of a size; it has as many heads."""
    whole, vae = ConditionUNetConfig(), AutoencoderConfig()
    width = 768 // part
    unet = replace(
        whole, size=size // vae.factor, widths=tuple(each // part for each in whole.widths), text_channels=width,
        groups=math.gcd(whole.groups, whole.widths[0] // part),
    )  # fmt: skip
    narrow = tuple(each // part for each in vae.widths)
    vae = replace(vae, size=size, widths=narrow, groups=math.gcd(vae.groups, narrow[0]))
    return Shapes(unet, vae, TextEncoderConfig(vocabulary=TOKENS, width=width, inner=4 * width, **text))


PIPELINES = {
    "sd-quarter": _of_stable_diffusion(256, 4),
    "sd-rehearsal": _of_stable_diffusion(64, 40, layers=2, heads=1),
}


@dataclass(frozen=True)
class TextWorkload(Workload):
    """The sizes of the tasks, of which those of training and search are not used.

    Arguments:
        config: the shapes of the pipeline.
        batch, steps, seed: see `Workload`.
    """

    config: Shapes  # ty: ignore[invalid-attribute-override]

    @cached_property
    def network(self) -> Network:
        """The UNet in float32, with random weights."""
        return self._random(condition_unet, self.config.unet, 0)

    def model(self, dtype: str) -> Model:
        """The pipeline, whose UNet and text encoder compute in this dtype, with the same weights."""
        shapes = self.config
        unet, text = replace(shapes.unet, dtype=dtype), replace(shapes.text, dtype=dtype)
        encoder, decoder = self._autoencoder
        process, prediction = scheduler.read(SCHEDULE)
        size = shapes.vae.size
        return Model(
            config=unet,
            network=self._random(condition_unet, unet, 0),
            process=process,
            prediction=prediction,
            space=Latents(
                size, size, shapes.vae.latent_channels, shapes.vae.factor, encoder, decoder, scaling_factor=0.18215,
                autoencoder=shapes.vae,
            ),
            conditions=Prompts((PromptEncoder(byte_tokenizer(), text, self._random(text_encoder, text, 2)),)),
            grids=scheduler.grids(SCHEDULE),
        )  # fmt: skip

    @cached_property
    def _autoencoder(self) -> tuple[Network, Network]:
        encoder, decoder = (self._random(make, self.config.vae, 1) for make in (latent_encoder, latent_decoder))
        return encoder, decoder

    def _random(self, make: Callable, config: Any, place: int) -> Network:
        return randomised(jax.jit(lambda key: make(config, key))(jax.random.key(self.seed + place)), self.seed)

    @cached_property
    def process(self) -> Process:
        """The forward process of Stable Diffusion."""
        return scheduler.read(SCHEDULE)[0]

    @property
    def solver(self) -> DDIM:
        """DDIM at the timesteps of Stable Diffusion."""
        return DDIM(self.steps, **scheduler.grids(SCHEDULE)["ddim"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the latents of one image, (h, w, C)."""
        return self.config.unet.shape

    def prompts(self, labels: Iterable[int]) -> list[str]:
        """The prompts that labels stand for."""
        return [PROMPTS[label] for label in labels]

    def guided(self, model: Model, null: Any, *, within: bool = False) -> Callable:
        """The denoiser with guidance, at all steps or within `INTERVAL`."""
        guided = guidance.classifier_free(model.denoise, null, SCALE)
        return guidance.interval(guided, model.process, model.denoise, window=INTERVAL) if within else guided

    @cached_property
    def pass_flops(self) -> int:
        """Matrix operations of one pass of the UNet for one row in jaxdiff."""
        config = self.config.unet
        condition = {"text": _shape(1, self.config.text.positions, config.text_channels)}
        return matrix_flops(Network.__call__, self.network, _shape(1, *self.shape), _shape(1), condition)

    @cached_property
    def decoding_flops(self) -> int:
        """Matrix operations of decoding an image in jaxdiff."""
        return matrix_flops(Network.__call__, self._autoencoder[1], _shape(1, *self.shape))

    @property
    def parameters(self) -> int:
        """The number of weights of the UNet."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.network.weights))

    def images_of(self, task: str) -> int | None:
        """See `Workload.images_of`."""
        return self.batch if task == "interval" else super().images_of(task)

    def flops_of(self, task: str, row: int, decoding: int) -> int | None:
        """Matrix operations of a run, from those of one row of the UNet and of decoding an image; None if not counted."""
        return self.batch * (2 * self.steps * row + decoding) if task == "sampling" else None


def _shape(*sizes: int) -> Float[Any, "..."]:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)
