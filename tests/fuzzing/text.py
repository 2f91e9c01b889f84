"""Readers of what prompts need: tokenizers, settings of text encoders, templates, and embeddings of new tokens."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from jaxdiff.boundary import read_json, reading
from jaxdiff.conditions import concepts, fair_table, prompt_file, published_prompts, templates, tokenizer_files
from jaxdiff.errors import InputError
from jaxdiff.fairness.fair_prompts import FairPrompts
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
        prompt = f"a face of a {concept}, smiling"
        if (found := table.find(prompt)) is None:
            continue  # it names the values itself
        assert found.spans
        try:
            fair = FairPrompts(table, (prompt, "a face"))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        assert fair.prompt_table().prompts[-1] == "a face" and all(fair.edit_prompts())
        assert np.isfinite(fair.signs()).all() and len(fair.assign(5, seed=0, mode="balanced")) == 5


def _prompts(folder: Path) -> Path:
    text = 'prompt,seed,guidance,category\n"a man, old",3,7.5,"safe, old"\na woman,,,\n'
    (folder / "prompts.csv").write_text(text)
    return folder / "prompts.csv"


def _lines(folder: Path) -> Path:
    # a byte order mark and all kinds of ends of lines
    (folder / "prompts.txt").write_bytes("\ufeffa man, old\r\n\na woman\n a man, old \u2028a caf\u00e9\x0c".encode())
    return folder / "prompts.txt"


def _published(folder: Path) -> Path:
    known = published_prompts.SETS["ring-a-bell"]
    with (folder / "copy.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, known.columns)
        rows.writeheader()
        rows.writerows(dict.fromkeys(known.columns, f"{place}, a") for place in range(known.rows))
    return folder / "copy.csv"


def _read_prompts(path: Path, kind: str = "") -> None:
    read = prompt_file.read(f"{kind}{path}")
    prompts = read.table.prompts
    assert prompts == read.table.attributes[0].values and len(set(prompts)) == len(prompts) > 0
    assert all(each and each == each.strip() for each in prompts)
    assert all(each is None or len(each) == len(prompts) for each in (read.seeds, read.scales, read.categories))
    assert all(seed is None or 0 <= seed < 2**32 for seed in read.seeds or ())
    assert all(scale is None or 0 <= scale < np.inf for scale in read.scales or ())


def _concepts(folder: Path) -> Path:
    (folder / "concepts.txt").write_text("with a beard\n\n wearing glasses\n", encoding="utf-8")
    return folder / "concepts.txt"


def _read_concepts(path: Path) -> None:
    read = concepts.read([str(path)])
    assert len(set(read)) == len(read) and all(each and each == each.strip() for each in read)


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
    "prompts on lines": Target(_lines, _read_prompts),
    "published prompts": Target(_published, partial(_read_prompts, kind="ring-a-bell:")),
    "concepts": Target(_concepts, _read_concepts),
    "embeddings of a token": Target(_embeddings, _read_embeddings),
    "embeddings of a token, .pt": Target(lambda folder: of_webui(folder / "x.pt", name="face"), _read_embeddings),
}
