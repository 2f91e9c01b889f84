"""The tokenizer: a byte-level BPE of captions in the order and the files of CLIP's."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.text_checkpoint.plan import TOKENS
from jaxdiff.data import embedded
from jaxdiff.data.embedded_captions import captions

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
_CAPTIONS = 4_000
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_characters() -> list[str]:
    """The character that stands for each byte, in CLIP's order: printable bytes first, the rest moved beyond 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def vocabulary(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Tokens and their numbers: bytes, bytes that end a word, merges in order, begin, end."""
    characters = byte_characters()
    tokens = [*characters, *(character + WORD_END for character in characters), *(a + b for a, b in merges), BEGIN, END]
    # two pairs may merge into one text; it has one number
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def learned_merges(texts: Sequence[str]) -> list[tuple[str, str]]:
    """The merges of a BPE that makes every word of these texts one token, the most frequent pair first."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    model = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=WORD_END))
    model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PATTERN), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(vocab_size=5000, min_frequency=2, end_of_word_suffix=WORD_END, show_progress=False)
    model.train_from_iterator(texts, trainer)
    return [tuple(pair) for pair in json.loads(model.to_str())["model"]["merges"]]


def write_tokenizer(folder: Path, seed: int) -> None:
    """Trains a tokenizer on captions, and writes vocab.json and merges.txt beside transformers' tokenizer.json."""
    from transformers import CLIPTokenizer

    indices = np.arange(_CAPTIONS)
    # sorted, so that equally frequent pairs do not depend on a table's order
    merges = learned_merges(sorted(captions(embedded.labels(indices), indices, seed=seed)))
    numbers = vocabulary(merges)
    tokenizer = CLIPTokenizer(vocab=numbers, merges=merges, model_max_length=TOKENS, pad_token=END)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": BEGIN, "eos_token": END, "pad_token": END, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")
