#!/usr/bin/env bash
# Packages: diffusers 0.42.1 with transformers 5.24.0, peft 0.21.2 and accelerate 1.15.0, on torch 2.13.0.
# Expected: a LoRA in the form of kohya's scripts that changes some attention layers of a text encoder is merged into these, as
#   one that changes all of them is: the layers of a LoRA are a choice of its training, and files that lack layers of the UNet
#   load.
# What happens: without the output projections (out_proj), loading ends with "Could not automatically infer state dict type",
#   since the form is told from their names alone. The same layers under the names of diffusers load.
# Output seen:
#   all attention layers, kohya:     4 layers changed
#   queries and values, kohya:       ValueError: Could not automatically infer state dict type
#   queries and values, diffusers:   2 layers changed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 \
  transformers==5.24.0 peft==0.21.2 accelerate==1.15.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import warnings

warnings.simplefilter("ignore")
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel

CONFIG = CLIPTextConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
KOHYA = ("lora_te_text_model_encoder_layers_0_self_attn_{}", "lora_down", "lora_up")
DIFFUSERS = ("text_encoder.text_model.encoder.layers.0.self_attn.{}", "lora_linear_layer.down", "lora_linear_layer.up")


def changed(names, layers):
    """How many layers of a text encoder a LoRA changes, or how loading it ends."""
    module, down, up = names
    held = {}
    for layer in layers:
        held[f"{module.format(layer)}.{down}.weight"] = torch.ones(2, 8)
        held[f"{module.format(layer)}.{up}.weight"] = torch.ones(8, 2)
    encoder = CLIPTextModel(CONFIG)
    try:
        state, alphas = StableDiffusionPipeline.lora_state_dict(held)
        StableDiffusionPipeline.load_lora_into_text_encoder(state, alphas, encoder)
    except ValueError as error:
        return f"ValueError: {error}"
    return f"{sum('lora_A' in name for name, _ in encoder.named_parameters())} layers changed"


EVERY, SOME = ("q_proj", "k_proj", "v_proj", "out_proj"), ("q_proj", "v_proj")
seen = [changed(KOHYA, EVERY), changed(KOHYA, SOME), changed(DIFFUSERS, SOME)]
for what, result in zip(("all attention layers, kohya:", "queries and values, kohya:", "queries and values, diffusers:"), seen):
    print(f"{what:32} {result}")
if seen != ["4 layers changed", "ValueError: Could not automatically infer state dict type", "2 layers changed"]:
    raise SystemExit("changed: loading ends otherwise")
PY
