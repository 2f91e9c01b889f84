"""The folders that ship: the pipeline in Stable Diffusion's format, and CLIP beside it."""

import copy
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from bench.text_checkpoint.plan import SIZE
from bench.text_checkpoint.unet import scheduler
from jaxdiff.errors import InputError

MOST_BYTES = 8_500_000
"""Of the pipeline's folder."""


def assemble(
    out: Path, autoencoder: AutoencoderKL, unet: UNet2DConditionModel, clip: CLIPModel, tokenizer_folder: Path
) -> None:
    """Writes the pipeline's folder. UNet and autoencoder are stored in half precision under the plain names of files, the text
    encoder in float32: so it loads without any option, and computes in float32.

    Raises:
        InputError: the folder would be larger than `MOST_BYTES`.
    """
    encoder = CLIPTextModel(clip.config.text_config)
    encoder.load_state_dict(clip.text_model.state_dict())
    pipeline = StableDiffusionPipeline(
        vae=_half(autoencoder),
        text_encoder=encoder.eval(),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_folder),
        unet=_half(unet),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    partial = _empty(out)
    pipeline.save_pretrained(partial)
    _forget_origins(partial)
    for file in tokenizer_folder.iterdir():
        shutil.copyfile(file, partial / "tokenizer" / file.name)
    size = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    if size > MOST_BYTES:
        raise InputError(f"the folder of {out} must have at most {MOST_BYTES:,} bytes, got {size:,}")
    _replace(partial, out)


def assemble_clip(out: Path, clip: CLIPModel, tokenizer_folder: Path) -> None:
    """Writes both towers with their tokenizer and the preparation of images, in float32."""
    partial = _empty(out)
    clip.save_pretrained(partial)
    for file in tokenizer_folder.iterdir():
        shutil.copyfile(file, partial / file.name)
    preparation = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (partial / "preprocessor_config.json").write_text(json.dumps(preparation, indent=2) + "\n")
    _replace(partial, out)


def _forget_origins(folder: Path) -> None:
    """Takes the folders that parts were loaded from out of their configurations."""
    for file in folder.rglob("config.json"):
        kept = {name: value for name, value in json.loads(file.read_text()).items() if name != "_name_or_path"}
        file.write_text(json.dumps(kept, indent=2) + "\n")


def _half(module: torch.nn.Module) -> torch.nn.Module:
    return copy.deepcopy(module).to(memory_format=torch.contiguous_format).half().eval()


def _empty(out: Path) -> Path:
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def _replace(partial: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
