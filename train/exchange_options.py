"""Options of `jaxdiff train export` and `jaxdiff train import`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff.bounds import Size


@dataclass(frozen=True)
class Export:
    """Exports a trained model in diffusers format: unet/ (UNet2DModel), scheduler/ (DDIMScheduler) and, for an unconditional
    model, model_index.json (DDIMPipeline).

    Load it in PyTorch with `UNet2DModel.from_pretrained(OUT, subfolder="unet")` and `DDIMScheduler.from_pretrained(OUT,
    subfolder="scheduler")`, or with `DDIMPipeline.from_pretrained(OUT)`. Class labels are the model's labels; the null label
    is the last class; with several attributes the classes are their combinations, the last attribute fastest.

    UNet2DModel has no stem, so the presets faces64 and faces128 can be exported, and tiny and small cannot.

    A text-to-image model becomes the pipeline that it is, StableDiffusionPipeline or StableDiffusionXLPipeline.

    Examples:

      jaxdiff train export --model runs/celeba --out exported/celeba
    """

    model: Path
    """Trained model: the folder of a run, or its model.safetensors, or the folder of a text-to-image model."""
    out: Path
    """Output folder; must not exist or be empty."""


@dataclass(frozen=True)
class Import(CheckedOptions):
    """Imports a model from diffusers (UNet2DModel, Stable Diffusion) or guided-diffusion, and writes it as a run for the other
    programs.

    A diffusers folder contains all settings; DDPM networks (CIFAR-10, CelebA-HQ) and ADM networks are supported, stored as
    safetensors or .bin, whole or in shards. Averaged weights (unet_ema) are taken before others, and plain weights before
    variants (fp16). OWNER/NAME is a model on the Hugging Face hub (needs jaxdiff[hub]), of which only the files needed are
    downloaded. A file of guided-diffusion or P2 weighting contains only weights: give --size, --process and, unless it is 64,
    --head-channels. No code in the files is executed. Other networks of latents are refused.

    Class labels become the attribute `class` with the values 0, 1, ..., unless --value-names names them. The model has no null
    label, and so no classifier-free guidance, unless --null-label declares the last class as the null label.

    Examples:

      jaxdiff train import ~/models/ddpm-celebahq-256 --out runs/celebahq

      jaxdiff train import google/ddpm-celebahq-256 --out runs/celebahq

      jaxdiff train import ~/models/my-classes --value-names gender=male,female --null-label --out runs/mine

      jaxdiff train import ~/models/ffhq_p2.pt --size 256 --process ddpm_linear --out runs/p2

      jaxdiff train import ~/models/stable-diffusion-v1-4 --unet esd-nudity.safetensors --out runs/erased

      jaxdiff train import ~/models/stable-diffusion-v1-5 --lora style.safetensors=0.8 --dtype bfloat16 --out runs/style

      jaxdiff train import ~/models/stable-diffusion-v1-5 --single downloaded.safetensors --out runs/downloaded
    """

    source: Annotated[str, tyro.conf.Positional]
    """A diffusers folder, a file of weights (.safetensors, .pt, .bin), or a model on the Hugging Face hub: OWNER/NAME or
    hf://OWNER/NAME[@REVISION][/PATH]."""
    out: Path
    """Output folder of the run; must not exist or be empty."""
    value_names: tuple[str, ...] = ()
    """Attribute and value names for the class labels, e.g. gender=male,female."""
    null_label: bool = False
    """The last class is the null label."""
    size: str | None = None
    """Image size in pixels, a number or HEIGHTxWIDTH, if the source does not record it."""
    process: Literal["vp_linear", "vp_cosine", "ddpm_linear", "ddpm_scaled_linear", "ddpm_cosine"] | None = None
    """Forward process; overrides the one recorded in the source."""
    timesteps: Size = 1000
    """Number of timesteps T of --process ddpm_*."""
    prediction: Literal["eps", "v", "x0"] | None = None
    """Prediction type of the network; overrides the source's. By default eps for guided-diffusion."""
    subfolder: str | None = None
    """Folder of the network in the source, by default unet_ema, unet or the source itself."""
    variant: str | None = None
    """Variant of the weights, e.g. fp16, by default none where there are plain weights."""
    key: str | None = None
    """Network to take in a file of several, e.g. ema; by default the only one, or the only one whose name says ema."""
    head_channels: Size = 64
    """guided-diffusion: channels per attention head (num_head_channels)."""
    attention_order: Literal["heads", "projections"] = "heads"
    """guided-diffusion: projections if the network was trained with use_new_attention_order, else heads."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Computation dtype, by default float32; parameters are always float32. Stable Diffusion: also that of the weights, by
    default bfloat16 if those of the UNet are."""
    unet: Path | None = None
    """Stable Diffusion: file of weights of the UNet, all or some of them, or folder of a UNet, in place of the source's."""
    vae: Path | None = None
    """Stable Diffusion: file of weights or folder of an autoencoder, in place of the source's."""
    text_encoder: Path | None = None
    """Stable Diffusion: file of weights or folder of a text encoder, in place of the source's."""
    text_encoder_2: Path | None = None
    """Stable Diffusion XL: the same for the second text encoder."""
    single: Path | None = None
    """Stable Diffusion: file in the original layout (.safetensors, .ckpt) whose weights are taken in place of the source's."""
    lora: tuple[str, ...] = ()
    """Stable Diffusion: files of LoRA to merge in, each FILE or FILE=WEIGHT; the weight is 1 by default."""
    embedding: tuple[Path, ...] = ()
    """Stable Diffusion: files of textual inversion, each for a new token of prompts."""
