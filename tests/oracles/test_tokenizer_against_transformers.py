"""Our tokenizer compared with transformers' CLIPTokenizer, on CLIP's own vocabulary: the one of Stable Diffusion.

The vocabulary lies in the package open-clip-torch, which is installed for this alone and is not imported.
"""

import gzip
import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
    from tokenizers import pre_tokenizers

from jaxdiff.conditions import tokenizer_files

SPECIALS = ("<|startoftext|>", "<|endoftext|>")
WORDS = "a the photo face of man woman doctor firefighter nurse smiling 4k 1980s trending artstation don't it's"
PICKED = [
    "", " ", "a", "A Photo of a CAT", "a photo of a cat", "  many \t\n spaces  ", "don't, it's; we'll they've I'd you're",
    "1234567890 3.14", "!", "hello!", "hello !!! ?", "don''t", "naïve café", "ﬁne ligature", "İstanbul ıIiİ", "ẞß",
    "日本語のテキスト", "صورة رجل", "👩‍🚒 firefighter 🔥🔥", "e\u0301 combining", "\u00a0nbsp\u2003em", "_under_ #hash @at",
    "(masterpiece:1.2), [best quality]", "<lora:name:0.8> <token>", "a" * 300, "word " * 100, "supercalifragilistic",
    "<|endoftext|>", "a <|endoftext|> b", "<|STARTOFTEXT|> x", "<|startoftext|>a<|endoftext|>", "<|endoftext", "\x00\x01",
    "½ ² ٣ Ⅷ", "don’t “quoted” – dash…", "ΑΒΓ ςσ", "​zero​width", "\ufeffbom", "c++ c# f(x)=y", "&amp; <b>html</b>",
]  # fmt: skip


def texts() -> list[str]:
    """Those that were picked, and others of words and characters at random."""
    rng = np.random.default_rng(0)
    characters = [chr(each) for each in (*range(32, 127), 0xE9, 0xDF, 0x130, 0x3A9, 0x4E2D, 0x1F600, 0x2019, 0xA0)]
    drawn = [" ".join(rng.choice(WORDS.split(), rng.integers(1, 90))) for _ in range(100)]
    drawn += ["".join(rng.choice(characters, rng.integers(1, 200))) for _ in range(200)]
    return PICKED + drawn


@pytest.fixture(scope="module")
def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's vocabulary and merges: bytes, bytes that end a word, merges, begin and end."""
    found = importlib.util.find_spec("open_clip")
    if found is None:
        pytest.skip("open-clip-torch, which has CLIP's vocabulary, is not installed")
    file = Path(found.submodule_search_locations[0], "bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"{each}</w>" for each in letters), *("".join(each) for each in merges), *SPECIALS]
    return {name: token for token, name in enumerate(names)}, merges


def flagged(content: str) -> dict:
    """A token as published files describe it."""
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", "content": content, **flags}


def folder(place: Path, vocabulary, pad: str, **settings) -> Path:
    """A folder of a tokenizer as in Stable Diffusion, whose two files differ in the token that pads."""
    place.mkdir()
    names, merges = vocabulary
    begin, end = SPECIALS
    named = {"bos_token": flagged(begin), "eos_token": flagged(end), "unk_token": flagged(end)}
    common = {"model_max_length": 77, "do_lower_case": True, "tokenizer_class": "CLIPTokenizer", "errors": "replace"}
    (place / "vocab.json").write_text(json.dumps(names))
    (place / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{one} {other}\n" for one, other in merges))
    (place / "tokenizer_config.json").write_text(json.dumps({**common, **named, "pad_token": end, **settings}))
    (place / "special_tokens_map.json").write_text(json.dumps({**named, "pad_token": pad}))
    return place


def expected(theirs, given: list[str]) -> np.ndarray:
    return theirs(given, padding="max_length", truncation=True, max_length=77, return_tensors="np").input_ids


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_tokens_are_those_of_transformers(pad, vocabulary, tmp_path):
    place, given = folder(tmp_path / "tokenizer", vocabulary, pad), texts()
    assert len(given) >= 300
    theirs = transformers.CLIPTokenizer.from_pretrained(place)
    ours = tokenizer_files.read(place)
    tokens = ours(given)
    np.testing.assert_array_equal(tokens.ids, expected(theirs, given))
    assert (ours.begin, ours.end, ours.pad, ours.length, ours.size) == (
        theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id, theirs.model_max_length, len(theirs)
    )  # fmt: skip
    assert ours.pad == (0 if pad == "!" else 49407)
    lengths = [len(each) for each in theirs(given).input_ids]
    assert [bool(cut) for cut in tokens.cut] == [length > 77 for length in lengths]
    # and from the files that transformers writes
    theirs.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(tokenizer_files.read(tmp_path / "saved")(given).ids, tokens.ids)


def test_transformers_reads_the_tokenizer_that_is_written(vocabulary, tmp_path):
    ours = tokenizer_files.read(folder(tmp_path / "tokenizer", vocabulary, "!")).with_tokens({"<face>": 2, "Sketchy": 1})
    (tmp_path / "written").mkdir()
    for name, text in tokenizer_files.written(ours).items():
        (tmp_path / "written" / name).write_text(text)
    theirs, given = transformers.CLIPTokenizer.from_pretrained(tmp_path / "written"), texts()
    np.testing.assert_array_equal(expected(theirs, given), ours(given).ids)
    # diffusers writes a token of several vectors as several tokens
    np.testing.assert_array_equal(
        expected(theirs, ["a <face> <face>_1 in SKETCHY style"]), ours(["a <face> in SKETCHY style"]).ids
    )
    assert tokenizer_files.read(tmp_path / "written") == ours


@pytest.mark.parametrize("where", ["added_tokens.json", "tokenizer_config.json"])
def test_added_tokens_of_files_match_as_in_transformers(where, vocabulary, tmp_path):
    decoder = {str(token): flagged(name) for name, token in zip(SPECIALS, (49406, 49407), strict=True)}
    decoder |= {"49408": {**flagged("<Face>"), "special": False}, "49409": {**flagged("Qzx"), "single_word": True}}
    settings = {"added_tokens_decoder": decoder} if where == "tokenizer_config.json" else {}
    place = folder(tmp_path / "tokenizer", vocabulary, "!", **settings)
    if where == "added_tokens.json":
        (place / "added_tokens.json").write_text(json.dumps({"<Face>": 49408, "Qzx": 49409}))
    given = [*texts(), "a <face> and a <FACE>", "qzx qzxy QZX", "<Face>qzx!"]
    theirs = transformers.CLIPTokenizer.from_pretrained(place)
    np.testing.assert_array_equal(tokenizer_files.read(place)(given).ids, expected(theirs, given))
