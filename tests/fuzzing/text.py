"""Readers of what prompts need: tokenizers, settings of text encoders, templates, and embeddings of new tokens."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from jaxdiff.boundary import read_json, reading
from jaxdiff.conditions import fair_table, prompt_file, templates, tokenizer_files
from jaxdiff.interop import clip, text_embeddings, text_encoder_config
from tests.conditions.bpe import BEGIN, END, VOCABULARY, parts, token, whole
from tests.fuzzing.property import Target
from tests.interop.test_clip import written as written_clip
from tests.interop.test_text_embeddings import ROWS, of_webui

ADDED = {str(VOCABULARY[each]): token(each) for each in (BEGIN, END)} | {"522": token("<x>", special=False)}


def _tokenizer(write: Any, folder: Path, **more: Any) -> Path:
    write(folder / "tokenizer", **more)
    (folder / "tokenizer" / "special_tokens_map.json").write_text('{"pad_token": "!"}')
    return folder / "tokenizer"


def _read_tokenizer(path: Path) -> None:
    read = tokenizer_files.read(path)
    tokens = read(["a man <x> !", f"{END} \u00e9", ""])
    assert tokens.ids.shape == (3, read.length) and 0 <= tokens.ids.min() <= tokens.ids.max() < read.size
    assert (tokens.ids[:, 0] == read.begin).all() and (tokens.ids[np.arange(3), tokens.ends] == read.end).all()
    assert {read.begin, read.end, read.pad} <= set(range(read.size))


def _settings(folder: Path) -> Path:
    text = '{"architectures": ["CLIPTextModel"], "hidden_size": 64, "num_attention_heads": 4, "layer_norm_eps": 1e-05}'
    (folder / "config.json").write_text(text)
    return folder / "config.json"


def _read_settings(path: Path) -> None:
    with reading(path):
        config = text_encoder_config.read(read_json(path), name=path.name)
    assert config.width % config.heads == 0 and config.layers >= 1


def _template(folder: Path) -> Path:
    text = 'prompt = "a {age} {group}, {{x}}"\ngroup = ["man", "woman"]\n[age]\nyoung = "young"\nold = "gray"\n'
    (folder / "faces.toml").write_text(text)
    return folder / "faces.toml"


def _read_template(path: Path) -> None:
    table = templates.read(path)
    assert len(table.prompts) == np.prod([len(each.values) for each in table.attributes])


def _fair_table(folder: Path) -> Path:
    text = 'instruction = "{concept} {age}"\n[attributes]\nage = ["young", "old"]\n[concepts]\nnurse = { age = "equal" }\n'
    (folder / "table.toml").write_text(f"{text}doctor = {{ age = {{ young = 0.25, old = 0.75 }} }}\n")
    return folder / "table.toml"


def _read_fair_table(path: Path) -> None:
    table = fair_table.read(path)
    for concept, shares in table.concepts.items():
        assert all(abs(sum(each) - 1) < 1e-5 for each in shares.values())
        found = table.find(f"a face of a {concept}, smiling")
        assert found is None or found.spans


def _prompts(folder: Path) -> Path:
    (folder / "prompts.csv").write_text('prompt,seed,guidance\n"a man, old",3,7.5\na woman,,\n')
    return folder / "prompts.csv"


def _read_prompts(path: Path) -> None:
    read = prompt_file.read(path)
    count = len(read.table.prompts)
    assert all(each is None or len(each) == count for each in (read.seeds, read.scales))


def _embeddings(folder: Path) -> Path:
    safetensors.numpy.save_file({"clip_l": ROWS, "clip_g": ROWS}, folder / "token.safetensors")
    return folder / "token.safetensors"


def _read_embeddings(path: Path) -> None:
    with np.errstate(all="ignore"):
        found = text_embeddings.read(path)
    assert found.token and all(rows.ndim == 2 and np.isfinite(rows).all() for rows in found.vectors)


def _read_clip(path: Path) -> None:
    read = clip.load(path)
    with np.errstate(all="ignore"):
        vectors = read.of_images(np.zeros((1, 8, 7, 3), np.uint8))
    assert vectors.shape == (1, read.config.projection) and np.isfinite(read.scale)


TEXT: dict[str, Target] = {
    "tokenizer in parts": Target(partial(_tokenizer, parts, added_tokens_decoder=ADDED), _read_tokenizer),
    "tokenizer in one file": Target(partial(_tokenizer, whole), _read_tokenizer),
    "tokenizer's settings": Target(
        partial(_tokenizer, parts, added_tokens_decoder=ADDED), _read_tokenizer, files="tokenizer_config.json"
    ),
    "settings of a text encoder": Target(_settings, _read_settings),
    "CLIP": Target(lambda folder: written_clip(folder / "clip"), _read_clip, examples=40),
    "CLIP's settings": Target(lambda folder: written_clip(folder / "clip"), _read_clip, examples=40, files="*config.json"),
    "template of prompts": Target(_template, _read_template),
    "fair table": Target(_fair_table, _read_fair_table),
    "prompts with seeds": Target(_prompts, _read_prompts),
    "embeddings of a token": Target(_embeddings, _read_embeddings),
    "embeddings of a token, .pt": Target(lambda folder: of_webui(folder / "x.pt", name="face"), _read_embeddings),
}
