"""Small pipelines of diffusers with random weights, and what diffusers draws with them."""

import os
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers
    import numpy as np
    import torch
    import transformers

from tests.conditions.bpe import BEGIN, END, MERGES, VOCABULARY

STEPS, SCALE = 10, 7.5
PROMPTS = ["a photo of a man", "photo, woman 12"]
SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
UNET = {"sample_size": 16, "layers_per_block": 1, "norm_num_groups": 8}
DEEP = {**UNET, "block_out_channels": (16, 32, 32, 32), "cross_attention_dim": 32}
UNETS: dict[str, dict[str, Any]] = {
    "SD 1": {**DEEP, "attention_head_dim": 4},
    "SD 2": {**DEEP, "attention_head_dim": (2, 4, 4, 4), "use_linear_projection": True},
    "XL": {
        **UNET, "block_out_channels": (16, 32), "cross_attention_dim": 56, "attention_head_dim": (2, 4),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2), "use_linear_projection": True, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 48 + 20,
    },
}  # fmt: skip
TEXTS = {
    "SD 1": [{"hidden_size": 32, "num_hidden_layers": 3, "hidden_act": "quick_gelu"}],
    "SD 2": [{"hidden_size": 32, "num_hidden_layers": 2, "hidden_act": "gelu"}],
    "XL": [
        {"hidden_size": 32, "num_hidden_layers": 3, "hidden_act": "quick_gelu"},
        {"hidden_size": 24, "num_hidden_layers": 2, "hidden_act": "gelu", "projection_dim": 20},
    ],
}
VAE = {
    "block_out_channels": (16, 16, 32, 32), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 128,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip


def drawn(model: Any, seed: int = 1) -> Any:
    """A network whose weights would show a mistake: those that start as 0 or 1 are moved, the text and the time are heeded."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn_like(weight))
            elif "attn2.to_v" in name or "attn2.to_out" in name:
                weight.mul_(8**0.5)
            elif "attn2.to_q" in name or "attn2.to_k" in name:
                weight.mul_(3)
            elif "time_emb_proj" in name:
                weight.mul_(4)
            elif name.endswith("embedding.weight"):
                weight.mul_(20)
    return model.eval()


def tokenizer(pad: str) -> Any:
    return transformers.CLIPTokenizer(vocab=dict(VOCABULARY), merges=list(MERGES), model_max_length=77, pad_token=pad)


def text_encoder(place: int, **settings: Any) -> Any:
    """The first or the second text encoder of a pipeline."""
    kind = (transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection)[place]
    more = {"vocab_size": len(VOCABULARY), "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 77}
    ends = {"bos_token_id": VOCABULARY[BEGIN], "eos_token_id": VOCABULARY[END]}
    return drawn(kind(transformers.CLIPTextConfig(**more, **ends, **settings)), seed=2 + place)


def made(kind: str, prediction: str) -> Any:
    """A pipeline of diffusers.

    Arguments:
        kind: `SD 1`, `SD 2` or `XL`.
        prediction: its `prediction_type`.
    """
    torch.manual_seed(0)
    texts = [text_encoder(place, **settings) for place, settings in enumerate(TEXTS[kind])]
    parts = {
        "unet": drawn(diffusers.UNet2DConditionModel(**UNETS[kind])),
        "vae": drawn(diffusers.AutoencoderKL(**VAE, **({"scaling_factor": 0.13025} if kind == "XL" else {}))),
        "scheduler": diffusers.DDIMScheduler(**SCHEDULE, prediction_type=prediction),
        "text_encoder": texts[0], "tokenizer": tokenizer("!" if kind == "SD 2" else END),
    }  # fmt: skip
    if kind == "XL":
        parts |= {"text_encoder_2": texts[1], "tokenizer_2": tokenizer("!"), "add_watermarker": False}
        pipeline = diffusers.StableDiffusionXLPipeline(**parts)
    else:
        without = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = diffusers.StableDiffusionPipeline(**parts, **without)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def saved(pipeline: Any, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.save_pretrained(folder)
    return folder


def noise(height: int, width: int) -> np.ndarray:
    """Starting latents (B, h, w, 4) of images of a size in pixels."""
    return np.random.default_rng(0).standard_normal((len(PROMPTS), height // 8, width // 8, 4)).astype(np.float32)


def latents(
    pipeline: Any, height: int, width: int, *, prompts: list[str] = PROMPTS, steps: int = STEPS, **given: Any
) -> np.ndarray:
    """What diffusers draws from `noise`, before it is decoded."""
    start = torch.from_numpy(noise(height, width)).permute(0, 3, 1, 2)
    named = {"num_inference_steps": steps, "guidance_scale": SCALE, "output_type": "latent", **given}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = pipeline(prompts, height=height, width=width, latents=start, **named).images
    return drawn.permute(0, 2, 3, 1).numpy()


def images(pipeline: Any, drawn: np.ndarray) -> np.ndarray:
    """Latents as images of bytes, as the pipeline decodes them."""
    scaled = torch.from_numpy(drawn).permute(0, 3, 1, 2) / pipeline.vae.config.scaling_factor
    with torch.no_grad():
        pixels = pipeline.image_processor.postprocess(pipeline.vae.decode(scaled).sample, output_type="np")
    return (pixels * 255).round().astype(np.uint8)
