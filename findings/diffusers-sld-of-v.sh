#!/usr/bin/env bash
# Package: diffusers 0.42.1 with transformers 5.24.0, on torch 2.13.0.
# Expected: a model that predicts v draws what the same model written as one of epsilon draws, epsilon = alpha v + sigma x:
#   schedulers convert between them, and Safe Latent Diffusion (Schramowski et al. 2023, eq. 3 to 8) is stated for epsilon, with
#   its threshold and its scale in units of epsilon.
# What happens: StableDiffusionPipelineSafe compares and thresholds what the network predicts, whatever it is, without a word. Its
#   images of the same model differ by tens of percent; plain guidance, and the safe pipeline with scale 0, agree to rounding.
# Output seen:
#   relative distance between the latents drawn with v and with epsilon, 10 steps of DDIM
#   StableDiffusionPipeline                0.000002
#   StableDiffusionPipelineSafe, scale 0   0.000002
#   StableDiffusionPipelineSafe, medium    0.404794
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import copy
import warnings

warnings.simplefilter("ignore")
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionPipelineSafe,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from diffusers.pipelines.deprecated.stable_diffusion_safe import SafetyConfig

letters = sorted(ByteLevel.alphabet())
names = [*letters, *(f"{each}</w>" for each in letters), "<|startoftext|>", "<|endoftext|>"]
tokenizer = CLIPTokenizer(vocab={name: token for token, name in enumerate(names)}, merges=[], model_max_length=16)
torch.manual_seed(0)
text = CLIPTextModel(
    CLIPTextConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=len(names) - 2, eos_token_id=len(names) - 1,
    )
)
unet = UNet2DConditionModel(
    sample_size=8, layers_per_block=1, norm_num_groups=4, block_out_channels=(8, 16), cross_attention_dim=16,
    attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
).eval()
vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
with torch.no_grad():  # random weights hardly heed a text
    text.get_input_embeddings().weight.mul_(20)
    for name, weight in unet.named_parameters():
        weight.mul_(4 if "attn2" in name else 1)
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False, "steps_offset": 1}
PARTS = {"vae": vae, "text_encoder": text, "tokenizer": tokenizer, "safety_checker": None, "feature_extractor": None}
schedulers = {kind: DDIMScheduler(**SCHEDULE, prediction_type=kind) for kind in ("v_prediction", "epsilon")}


def of_epsilon(network, levels):
    """The same network, which predicts epsilon in place of v."""
    other = copy.deepcopy(network)
    predict = other.forward

    def forward(sample, timestep, **given):
        v = predict(sample, timestep, **{**given, "return_dict": True})
        v.sample = levels[timestep].sqrt() * v.sample + (1 - levels[timestep]).sqrt() * sample
        return v if given.get("return_dict", True) else (v.sample,)

    other.forward = forward
    return other


networks = {"v_prediction": unet, "epsilon": of_epsilon(unet, schedulers["epsilon"].alphas_cumprod)}
noise = torch.randn(1, 4, 8, 8)


def drawn(pipeline, kind, **given):
    """The latents after the last step."""
    made = pipeline(**PARTS, unet=networks[kind], scheduler=schedulers[kind], requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    if pipeline is StableDiffusionPipeline:
        return made("a man", latents=noise.clone(), num_inference_steps=10, output_type="latent").images
    seen, made.safety_concept = [], "a beard"
    keep = lambda step, time, latents: seen.append(latents.clone())
    made("a man", latents=noise.clone(), num_inference_steps=10, output_type="np", callback=keep, **given)
    return seen[-1]


def apart(pipeline, **given):
    """The relative distance between what the two forms of the model draw."""
    one, other = (drawn(pipeline, kind, **given) for kind in networks)
    return float((one - other).norm() / other.norm())


medium = {**SafetyConfig.MEDIUM, "sld_warmup_steps": 2}  # of 10 steps, as 10 of 50
print("relative distance between the latents drawn with v and with epsilon, 10 steps of DDIM")
seen = {
    "StableDiffusionPipeline": apart(StableDiffusionPipeline),
    "StableDiffusionPipelineSafe, scale 0": apart(StableDiffusionPipelineSafe, sld_guidance_scale=0.0),
    "StableDiffusionPipelineSafe, medium": apart(StableDiffusionPipelineSafe, **medium),
}
for name, distance in seen.items():
    print(f"{name:38} {distance:.6f}")
plain, off, safe = seen.values()
if max(plain, off) > 1e-4:
    raise SystemExit("changed: the two forms of a model differ without Safe Latent Diffusion")
if safe < 0.01:
    raise SystemExit("changed: Safe Latent Diffusion is that of epsilon for models of v")
PY
