#!/usr/bin/env bash
# Package: diffusers 0.42.1 with transformers 5.24.0, on torch 2.13.0.
# Expected: StableDiffusionDiffEditPipeline.generate_mask finds where `target_prompt` and `source_prompt` disagree, and a negative
#   prompt guides away, as everywhere: with a guidance scale just above 1, epsilon is that of the prompt, and the negative
#   prompts hardly count.
# What happens: the prompt and its negative prompt change places (encode_prompt returns the prompt's embedding first, and
#   generate_mask takes it for the negative one). Just above 1 the mask is that of the negative prompts, whatever the prompts say;
#   at 7.5 guidance goes away from the prompts. Nothing shows while both negative prompts are equal, as by default.
# Output seen:
#   pixels of 64 that differ from the mask of the prompts, and of the negative prompts, guidance scale 1.001
#   equal negative prompts      0   25
#   other negative prompts     25    0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.24.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import warnings

warnings.simplefilter("ignore")
import torch
from diffusers import (
    AutoencoderKL,
    DDIMInverseScheduler,
    DDIMScheduler,
    StableDiffusionDiffEditPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

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
forward = DDIMScheduler(**SCHEDULE)
pipeline = StableDiffusionDiffEditPipeline(
    **PARTS, unet=unet, scheduler=forward, inverse_scheduler=DDIMInverseScheduler.from_config(forward.config),
    requires_safety_checker=False,
)
pipeline.set_progress_bar_config(disable=True)
latents = torch.randn(1, 4, 8, 8)


def mask(prompts, negatives):
    """Where the source and the target disagree, of 8 x 8 pixels, from the same noise."""
    return pipeline.generate_mask(
        latents, source_prompt=prompts[0], target_prompt=prompts[1], source_negative_prompt=negatives[0],
        target_negative_prompt=negatives[1], guidance_scale=1.001, num_inference_steps=10, mask_thresholding_ratio=2.0,
        generator=torch.manual_seed(1),
    )


PROMPTS, NEGATIVES, NONE = ("a man", "a woman"), ("dark", "blurred"), ("", "")
of_prompts, of_negatives = mask(PROMPTS, NONE), mask(NEGATIVES, NONE)
print("pixels of 64 that differ from the mask of the prompts, and of the negative prompts, guidance scale 1.001")
seen = {}
for name, negatives in (("equal negative prompts", ("dark", "dark")), ("other negative prompts", NEGATIVES)):
    found = mask(PROMPTS, negatives)
    seen[name] = int((found != of_prompts).sum()), int((found != of_negatives).sum())
    print(f"{name:24} {seen[name][0]:4} {seen[name][1]:4}")
equal, other = seen.values()
if equal[0] != 0 or equal[1] == 0:
    raise SystemExit("changed: with equal negative prompts the mask is no longer that of the prompts")
if other[1] != 0 or other[0] == 0:
    raise SystemExit("changed: the mask is no longer that of the negative prompts")
PY
