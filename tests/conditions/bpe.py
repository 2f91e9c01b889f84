"""A small byte-pair encoding in the forms in which CLIP's lies in files."""

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
MERGES = [("m", "a"), ("ma", "n</w>"), ("w", "o"), ("wo", "man</w>"), ("p", "h"), ("o", "t"), ("ph", "ot"), ("phot", "o</w>")]


def letters() -> list[str]:
    """The printable character that stands for each byte, in the order of CLIP's vocabulary (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


NAMES = [*letters(), *(f"{each}</w>" for each in letters()), *("".join(each) for each in MERGES), BEGIN, END]
VOCABULARY = {name: token for token, name in enumerate(NAMES)}
"""Bytes, bytes that end a word, merges, begin and end: 522 tokens."""


def token(text: str, **flags: Any) -> dict[str, Any]:
    """An added token as files describe it."""
    return {
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    } | flags


def settings(pad: str | None = END, **more: Any) -> dict[str, Any]:
    """The content of `tokenizer_config.json`."""
    named = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, **({} if pad is None else {"pad_token": pad})}
    return {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **named, **more}


def parts(folder: Path, **more: Any) -> Path:
    """Writes `vocab.json`, `merges.txt` and `tokenizer_config.json`; for arguments see `settings`."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{one} {other}\n" for one, other in MERGES))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings(**more)))
    return folder


def whole(folder: Path, **more: Any) -> Path:
    """Writes `tokenizer.json` and `tokenizer_config.json`; for arguments see `settings`."""
    folder.mkdir(exist_ok=True)
    content = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 77, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 77}, "direction": "Right", "pad_id": 521, "pad_type_id": 0, "pad_token": END},
        "added_tokens": [{"id": VOCABULARY[each], **token(each)} for each in (BEGIN, END)],
        "model": {
            "type": "BPE", "unk_token": END, "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
            "vocab": VOCABULARY, "merges": [list(each) for each in MERGES],
        },
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings(**more)))
    return folder
