"""The files of CLIP's tokenizer, as transformers reads and writes them."""

import json
import os
from pathlib import Path
from typing import Any

from jaxdiff.boundary import read_json, read_text, reading
from jaxdiff.bounds import shortened
from jaxdiff.conditions.tokenizer import Tokenizer, library
from jaxdiff.errors import InputError

WHOLE, VOCABULARY, MERGES = "tokenizer.json", "vocab.json", "merges.txt"
SETTINGS, SPECIALS, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
FILES = (WHOLE, VOCABULARY, MERGES, SETTINGS, SPECIALS, ADDED)
"""The files that a tokenizer may have."""
CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")
MOST_LENGTH = 2**16
"""Limit of the tokens of a prompt."""

# Defaults of CLIPTokenizer. It has one for the token that pads, too, but published models differ in that.
_NAMED = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORD_END = "</w>"
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read(folder: str | os.PathLike, length: int | None = None) -> Tokenizer:
    """The tokenizer in a folder: its `tokenizer.json`, or else its `vocab.json` and `merges.txt`, with what lies beside them.

    Arguments:
        folder: the folder.
        length: tokens of a prompt, where the files do not say: the number of positions of the text encoder.

    Raises:
        InputError: a file is missing or damaged, the tokenizer is of another class, or the files do not say which token pads.
    """
    folder = Path(folder)
    with reading(folder):
        return _read(folder, length)


def _read(folder: Path, length: int | None) -> Tokenizer:
    found = {name for name in FILES if (folder / name).is_file()}
    settings = read_json(folder / SETTINGS) if SETTINGS in found else {}
    kind = settings.get("tokenizer_class", CLASSES[0])
    if kind not in CLASSES:
        raise InputError(f"{SETTINGS} describes a {shortened(kind)}; jaxdiff reads {CLASSES[0]}")
    for side in ("padding_side", "truncation_side"):
        if settings.get(side, "right") != "right":
            raise InputError(f"{SETTINGS}: {side} is {shortened(settings[side])}; jaxdiff takes right")
    whole = read_json(folder / WHOLE) if WHOLE in found else {}
    vocabulary, merges = _of_whole(whole) if whole else _of_parts(folder, found)
    if SPECIALS in found and "added_tokens_decoder" not in settings:
        settings |= read_json(folder / SPECIALS)
    padding = _object(whole, "padding")
    named = {**_NAMED, "pad_token": padding.get("pad_token")}
    named = {key: settings[key] if settings.get(key) is not None else name for key, name in named.items()}
    if named["pad_token"] is None:
        raise InputError(f"neither {SETTINGS} nor {SPECIALS} names the pad_token: models differ in it, so it is not assumed")
    added = _added(settings, whole, read_json(folder / ADDED) if ADDED in found else {})
    built = _built(vocabulary, merges, named, added)
    begin, end, pad = (built.token_to_id(_content(named[key])) for key in ("bos_token", "eos_token", "pad_token"))
    return Tokenizer(built.to_str(), _length(settings, whole, length), begin, end, pad)


def _of_whole(whole: dict[str, Any]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges in `tokenizer.json`. The way that it splits prompts into words is not read: it is CLIP's."""
    model = _object(whole, "model")
    if model.get("type", "BPE") != "BPE" or model.get("end_of_word_suffix") != _WORD_END:
        raise InputError(f"{WHOLE} must have a model of type BPE with the end_of_word_suffix {_WORD_END}, as CLIP's tokenizer")
    merges = [each.split(" ") if isinstance(each, str) else each for each in _list(model, "merges")]
    return _vocabulary(_object(model, "vocab"), WHOLE), _pairs(merges, WHOLE)


def _of_parts(folder: Path, found: set[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges in `vocab.json` and `merges.txt`."""
    if lacking := [name for name in (VOCABULARY, MERGES) if name not in found]:
        raise InputError(f"{folder} has no tokenizer: neither {WHOLE} nor {' and '.join(lacking)}")
    lines = read_text(folder / MERGES).split("\n")
    merges = [line.rstrip("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    return _vocabulary(read_json(folder / VOCABULARY), VOCABULARY), _pairs(merges, MERGES)


def _vocabulary(given: dict[str, Any], name: str) -> dict[str, int]:
    """The token of each text, checked: the rows of a table."""
    if not all(type(token) is int for token in given.values()) or sorted(given.values()) != list(range(len(given))):
        raise InputError(f"the tokens of the vocabulary in {name} must be 0, 1, .. without gaps")
    return given


def _pairs(given: list[Any], name: str) -> list[tuple[str, str]]:
    for each in given:
        if not (isinstance(each, list) and len(each) == 2 and all(isinstance(part, str) for part in each)):
            raise InputError(f"a merge in {name} must be two texts, got {shortened(each)}")
    return [tuple(each) for each in given]


def _added(settings: dict[str, Any], whole: dict[str, Any], texts: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The tokens that the files add to the vocabulary or mark as special, with how they match."""
    if "added_tokens_decoder" in settings:
        found = [(_number(token), each) for token, each in _object(settings, "added_tokens_decoder").items()]
    else:
        found = [(token, {"content": text}) for text, token in texts.items()]
        found += [(each.get("id") if isinstance(each, dict) else None, each) for each in _list(whole, "added_tokens")]
    tokens: dict[int, dict[str, Any]] = {}
    for token, each in found:
        if type(token) is not int or not isinstance(each, dict):
            raise InputError(f"an added token must be an object with its number, got {shortened(token)}: {shortened(each)}")
        tokens[token] = each
    return dict(sorted(tokens.items()))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _built(vocabulary, merges, named: dict[str, Any], added: dict[int, dict[str, Any]]) -> Any:
    """The tokenizer of the tokenizers."""
    tokenizers = library()
    unknown = _content(named["unk_token"])
    model = tokenizers.models.BPE(
        vocab=vocabulary, merges=merges, unk_token=unknown, continuing_subword_prefix="", end_of_word_suffix=_WORD_END
    )
    built, normalizers, splits = tokenizers.Tokenizer(model), tokenizers.normalizers, tokenizers.pre_tokenizers
    spaces = normalizers.Replace(tokenizers.Regex(r"\s+"), " ")
    built.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = splits.Split(tokenizers.Regex(_WORDS), behavior="removed", invert=True)
    built.pre_tokenizer = splits.Sequence([words, splits.ByteLevel(add_prefix_space=False)])
    special = {_content(name) for name in named.values()}
    for token, each in added.items():
        text = _content(each)
        built.add_tokens([_token(tokenizers, each, special=text in special)])
        if built.token_to_id(text) != token:
            raise InputError(f"added token {shortened(text)} must be {built.token_to_id(text)}, after the others; got {token}")
    # a special token that is written in a prompt is that token, `!` included where it is the one that pads
    for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
        text = _content(named[key])
        if built.token_to_id(text) is None:
            raise InputError(f"the {key} {shortened(text)} is not in the vocabulary")
        if text not in (each.content for each in built.get_added_tokens_decoder().values()):
            built.add_tokens([_token(tokenizers, named[key], special=True)])
    return built


def _token(tokenizers: Any, described: Any, *, special: bool) -> Any:
    """An added token, from its text or an object."""
    flags = described if isinstance(described, dict) else {}
    if wrong := [name for name in _FLAGS if not isinstance(flags.get(name, False), bool)]:
        raise InputError(f"`{wrong[0]}` of an added token must be true or false, got {shortened(flags[wrong[0]])}")
    given = {name: flags[name] for name in _FLAGS if name in flags} | ({"special": True} if special else {})
    return tokenizers.AddedToken(_content(described), **{"normalized": not given.get("special", False), **given})


def _content(described: Any) -> str:
    """The text of a token, from itself or an object."""
    text = described.get("content") if isinstance(described, dict) else described
    if not isinstance(text, str) or not text:
        raise InputError(f"a token must be a text or an object with its content, got {shortened(described)}")
    return text


def _length(settings: dict[str, Any], whole: dict[str, Any], otherwise: int | None) -> int:
    """Tokens of a prompt."""
    # of a tokenizer without a limit, files have the number 1e30
    stated = (settings.get("model_max_length"), _object(whole, "truncation").get("max_length"))
    length = next((each for each in stated if type(each) is int and each < 10**29), otherwise)
    if length is None:
        raise InputError(f"{SETTINGS} has no model_max_length: give the `length` of prompts")
    if not 3 <= length <= MOST_LENGTH:
        raise InputError(f"the model_max_length in {SETTINGS} must lie in 3 .. {MOST_LENGTH}, got {shortened(length)}")
    return length


def _object(holder: dict[str, Any], key: str) -> dict[str, Any]:
    """An object in an object, empty where it is missing or null."""
    found = holder.get(key)
    if found is not None and not isinstance(found, dict):
        raise InputError(f"`{key}` must be an object, got {shortened(found)}")
    return found or {}


def _list(holder: dict[str, Any], key: str) -> list[Any]:
    """A list in an object, empty where it is missing or null."""
    found = holder.get(key)
    if found is not None and not isinstance(found, list):
        raise InputError(f"`{key}` must be a list, got {shortened(found)}")
    return found or []


def written(tokenizer: Tokenizer) -> dict[str, str]:
    """The files of a tokenizer by name, their texts: `vocab.json`, `merges.txt` and what lies beside them."""
    described = json.loads(tokenizer.description)
    vocabulary, merges = described["model"]["vocab"], described["model"]["merges"]
    added = {each["id"]: each["content"] for each in described["added_tokens"]}
    text = {token: text for text, token in vocabulary.items()} | added
    named = {"bos_token": tokenizer.begin, "eos_token": tokenizer.end, "pad_token": tokenizer.pad}
    named = {key: text[token] for key, token in named.items()} | {"unk_token": described["model"]["unk_token"]}
    decoder = {str(each["id"]): {key: each[key] for key in ("content", *_FLAGS)} for each in described["added_tokens"]}
    settings = {
        "tokenizer_class": CLASSES[0],
        "model_max_length": tokenizer.length,
        "do_lower_case": True,
        **named,
        "added_tokens_decoder": decoder,
    }
    return {
        VOCABULARY: json.dumps(vocabulary, ensure_ascii=False),
        MERGES: "".join(f"{line}\n" for line in ("#version: 0.2", *(f"{first} {second}" for first, second in merges))),
        SPECIALS: json.dumps(named, indent=2) + "\n",
        SETTINGS: json.dumps(settings, indent=2) + "\n",
    }
