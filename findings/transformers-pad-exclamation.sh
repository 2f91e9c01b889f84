#!/usr/bin/env bash
# Package: transformers 5.24.0 (CLIPTokenizer, with tokenizers 0.23.3), on CLIP's own vocabulary, from open-clip-torch 3.3.0.
# Expected: the token that pads a prompt changes what follows the end token, and nothing before it. Stable Diffusion 2 and XL
#   name "!" as pad_token (id 0), since OpenCLIP, which trained their text encoders, pads with zeros; OpenCLIP itself reads
#   "a cat!" as a, cat, "!</w>" (256), whatever it pads with.
# What happens: the pad_token becomes a special token that is cut out of the prompt before it is split into words, so that every
#   exclamation mark is the padding's id 0: "a cat!" ends in 0 instead of 256, and "wow!!!" has three tokens 0 instead of the one
#   token "!!!</w>". The text encoder was trained on neither.
# Output seen:
#   a cat!     pad <|endoftext|>  [49406, 320, 2368, 256, 49407]
#   a cat!     pad !              [49406, 320, 2368, 0, 49407]
#   wow!!!     pad <|endoftext|>  [49406, 2781, 995, 49407]
#   wow!!!     pad !              [49406, 2781, 0, 0, 0, 49407]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps open-clip-torch==3.3.0  # for a file
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import gzip
import importlib.util
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

place = importlib.util.find_spec("open_clip").submodule_search_locations[0]
lines = gzip.decompress(Path(place, "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode().split("\n")
merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
letters = sorted(ByteLevel.alphabet())
names = [*letters, *(f"{each}</w>" for each in letters), *("".join(each) for each in merges)]
names += ["<|startoftext|>", "<|endoftext|>"]
vocabulary = {name: token for token, name in enumerate(names)}
seen = {}
for prompt in ("a cat!", "wow!!!"):
    for pad in ("<|endoftext|>", "!"):
        tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=77)
        seen[prompt, pad] = tokenizer(prompt).input_ids
        print(f"{prompt:10} pad {pad:14} {seen[prompt, pad]}")

if seen["a cat!", "<|endoftext|>"][-2] != vocabulary["!</w>"] or seen["wow!!!", "<|endoftext|>"][-2] != vocabulary["!!!</w>"]:
    raise SystemExit("changed: exclamation marks are no longer those of CLIP's vocabulary where another token pads")
if seen["a cat!", "!"][-2] != 0 or seen["wow!!!", "!"][-4:-1] != [0, 0, 0]:
    raise SystemExit("changed: exclamation marks are no longer the padding's token")
PY
