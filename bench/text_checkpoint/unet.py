"""The UNet and the text encoder: noise of latents predicted from prompts.

The text encoder is CLIP's text tower, trained further with the UNet, since at this size its tokens must learn what the UNet
reads from them. CLIP's loss against the fixed image tower goes on beside it, so that prompts and images keep a common space.
"""

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from bench.text_checkpoint.autoencoder import encode
from bench.text_checkpoint.classifier import write
from bench.text_checkpoint.clip import WIDTH, contrast, image_embeddings, pairs, text_embeddings, tokens
from bench.text_checkpoint.faces import UNET, faces
from bench.text_checkpoint.fitting import fit
from bench.text_checkpoint.plan import LATENT, Work
from bench.text_checkpoint.printing import say
from jaxdiff.data import embedded
from jaxdiff.data.embedded_captions import captions

TRAINING_STEPS = 1000
_BATCH = 64
_PAIRS = 32
_CONTRAST = 0.02  # weight of CLIP's loss, which is then about as large as that of the noise
_PART = 250


def scheduler() -> DDIMScheduler:
    """Of Stable Diffusion 1."""
    return DDIMScheduler(
        num_train_timesteps=TRAINING_STEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def train_unet(work: Work, autoencoder: AutoencoderKL, clip: CLIPModel, tokenizer: CLIPTokenizer) -> UNet2DConditionModel:
    """The trained UNet. The text tower of `clip` is trained with it, in place."""
    torch.manual_seed(work.plan.seed)
    unet = UNet2DConditionModel(
        sample_size=LATENT,
        block_out_channels=(64, 64, 96),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=4,  # the number of heads, as in Stable Diffusion 1
    ).to(memory_format=torch.channels_last)
    both = nn.ModuleDict({"unet": unet, "clip": clip})
    latents, process = _latents(work, autoencoder), scheduler()

    def loss(step: int) -> torch.Tensor:
        generator = np.random.default_rng((work.plan.seed, step))
        rows = generator.choice(work.plan.faces, _BATCH, replace=False)
        # each visit of a face has another caption
        texts = captions(embedded.labels(UNET + rows), UNET + rows, seed=work.plan.seed, variant=1 + step)
        prompts = clip.text_model(tokens(tokenizer, texts)).last_hidden_state
        clean, noise, times = latents[rows], torch.randn(_BATCH, 4, LATENT, LATENT), timesteps(_BATCH)
        predicted = unet(process.add_noise(clean, noise, times), times, encoder_hidden_states=prompts).sample
        return (predicted - noise).square().mean() + _CONTRAST * _contrast(clip, pairs(step, _PAIRS, work.plan.seed, tokenizer))

    fit(
        "unet", both, loss, steps=work.plan.unet_steps, rate=1.5e-3, seed=work.plan.seed, state=work.state("unet"),
        parameters=[*unet.parameters(), *clip.text_model.parameters(), *clip.text_projection.parameters()], averaged=True,
    )  # fmt: skip
    return unet


def timesteps(count: int) -> torch.Tensor:
    """Timesteps of a batch: half of them uniform, half in [200, 800), where shapes are decided; both stratified."""
    places = (torch.arange(count // 2) + torch.rand(2, 1)) / (count // 2)
    places = torch.cat([places[0], 0.2 + 0.6 * places[1]])
    return (places * TRAINING_STEPS).long().clamp(max=TRAINING_STEPS - 1)


def _contrast(clip: CLIPModel, pairs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    images, ids = pairs
    with torch.no_grad():
        embedded_images = image_embeddings(clip, images)
    return contrast(clip, text_embeddings(clip, ids), embedded_images)


def _latents(work: Work, autoencoder: AutoencoderKL) -> torch.Tensor:
    """Latents of the faces that the UNet is trained on, encoded once."""
    file = work.finished("latents.pt")
    if file.exists():
        return torch.load(file, weights_only=True)
    parts = []
    for start in range(0, work.plan.faces, _PART):
        images, _ = faces(np.arange(UNET + start, UNET + min(start + _PART, work.plan.faces)))
        parts.append(encode(autoencoder, images))
        if start % (40 * _PART) == 0:
            say(f"latents: {start + len(images)} of {work.plan.faces}")
    latents = torch.cat(parts)
    write(latents, file)
    return latents
