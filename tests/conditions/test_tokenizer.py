"""Prompts become the tokens that CLIP's vocabulary, merges and special tokens say, from either form of its files."""

import json
import sys

import numpy as np
import pytest

from jaxdiff.conditions import tokenizer_files
from jaxdiff.conditions.tokenizer import Difference, library
from jaxdiff.errors import InputError
from tests.conditions.bpe import BEGIN, END, VOCABULARY, parts, token, whole

FIRST, LAST = VOCABULARY[BEGIN], VOCABULARY[END]


def numbers(*names: str) -> list[int]:
    return [VOCABULARY[name] for name in names]


@pytest.fixture
def small(tmp_path):
    return tokenizer_files.read(parts(tmp_path / "tokenizer"))


def content(tokens, row: int = 0) -> list[int]:
    """The tokens between begin and end."""
    assert tokens.ids[row, 0] == FIRST and tokens.ids[row, tokens.ends[row]] == LAST
    return tokens.ids[row, 1 : tokens.ends[row]].tolist()


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("man", ["man</w>"]),
        ("A Woman", ["a</w>", "woman</w>"]),
        ("  a \t\n man ", ["a</w>", "man</w>"]),
        ("mans", ["ma", "n", "s</w>"]),  # the merge is of n</w>
        ("photo photos", ["photo</w>", "phot", "o", "s</w>"]),
        ("42", ["4</w>", "2</w>"]),
        ("man's!?", ["man</w>", "'", "s</w>", "!", "?</w>"]),
        ("e\u0301", ["Ã", "©</w>"]),  # é in NFC, two bytes
        ("the <|endoftext|>", ["t", "h", "e</w>"]),
        (f"{BEGIN}man", [BEGIN, "man</w>"]),
    ],
)
def test_prompts_are_split_by_merges_in_their_order(prompt, expected, small):
    tokens = small([prompt])
    assert tokens.ids.shape == (1, 77) and tokens.ids.dtype == np.int32
    assert content(tokens) == numbers(*expected)
    assert (tokens.ids[0, tokens.ends[0] + 1 :] == LAST).all() and tokens.cut == ("",)


def test_both_forms_of_the_files_are_the_same_tokenizer(tmp_path):
    one, other = tokenizer_files.read(parts(tmp_path / "parts")), tokenizer_files.read(whole(tmp_path / "whole"))
    assert one == other
    old = json.loads((tmp_path / "whole/tokenizer.json").read_text())
    old["model"]["merges"] = [" ".join(each) for each in old["model"]["merges"]]
    (tmp_path / "whole/tokenizer.json").write_text(json.dumps(old))
    assert tokenizer_files.read(tmp_path / "whole") == one


def test_what_is_written_is_read_as_the_same_tokenizer(tmp_path, small):
    for given in (small, small.with_tokens({"<face>": 3, "Style": 1})):
        (tmp_path / "back").mkdir(exist_ok=True)
        for name, text in tokenizer_files.written(given).items():
            (tmp_path / "back" / name).write_text(text)
        assert tokenizer_files.read(tmp_path / "back") == given


def test_the_token_that_pads_is_that_of_the_files(tmp_path):
    place = parts(tmp_path / "tokenizer")
    (place / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    padded = tokenizer_files.read(place)
    assert padded.pad == 0 and (padded(["man"]).ids[0, 3:] == 0).all()
    # a special token is itself wherever it is written; elsewhere a last ! is that of a word's end
    assert content(padded(["man!"])) == numbers("man</w>", "!")
    # as transformers writes them now: the settings have all, and the other file is of an older version
    settled = parts(place, added_tokens_decoder={str(VOCABULARY[END]): token(END)})
    assert tokenizer_files.read(settled).pad == LAST
    named = whole(tmp_path / "whole", pad=None)
    assert tokenizer_files.read(named).pad == LAST  # of tokenizer.json's padding


def test_a_prompt_that_is_too_long_loses_its_end_and_keeps_the_end_token(tmp_path):
    short = tokenizer_files.read(parts(tmp_path / "tokenizer", model_max_length=6))
    tokens = short(["a man a woman", "a man a woman, a Man", "mans photos", f"a {END} man a man woman"])
    assert content(tokens, 0) == numbers("a</w>", "man</w>", "a</w>", "woman</w>")
    assert content(tokens, 1) == content(tokens, 0)
    assert tokens.ids[:, -1].tolist() == [LAST] * 4
    assert tokens.cut == ("", ", a Man", "os", "man woman") and tokens.ends.tolist() == [5, 5, 5, 2]


def test_the_length_is_that_of_the_files_or_given(tmp_path):
    place = parts(tmp_path / "tokenizer", model_max_length=10**30)
    assert tokenizer_files.read(place, 9).length == 9
    with pytest.raises(InputError, match="has no model_max_length: give the `length`"):
        tokenizer_files.read(place)
    assert tokenizer_files.read(whole(tmp_path / "whole", model_max_length=10**30), 9).length == 77


def test_a_new_token_stands_for_its_vectors_after_all_others(small):
    more = small.with_tokens({"<face>": 3}).with_tokens({"Style": 1})
    assert (small.size, more.size) == (522, 526)
    assert content(more(["a <face>man in STYLE"])) == [*numbers("a</w>"), 522, 523, 524, *numbers("man</w>", "i", "n</w>"), 525]
    np.testing.assert_array_equal(more(["a man"]).ids, small(["a man"]).ids)
    # the first end token, not the largest token
    assert more(["a <face>"]).ends.tolist() == [5] and more(["a <face>"]).ids[0].argmax() == 4


def test_a_token_cut_in_two_keeps_the_vectors_that_fit(tmp_path):
    short = tokenizer_files.read(parts(tmp_path / "tokenizer", model_max_length=6)).with_tokens({"<f>": 4})
    tokens = short(["man <f> a"])
    assert content(tokens) == [*numbers("man</w>"), 522, 523, 524] and tokens.cut == ("<f> a",)


def test_where_two_prompts_differ(small):
    one_word = small.difference("a photo of a man", "a photo of a woman")
    assert one_word == Difference(6, ("man",), ("woman",))  # begin, a, photo, o, f, a
    longer = small.difference("a Man here", "a mans photo here")
    assert longer == Difference(2, ("Man",), ("ma", "n", "s", "photo"))
    assert small.difference("a man", "A  MAN") == Difference(3, (), ())


def added(number, **flags):
    return {str(number): token("<x>", special=False, normalized=True, **flags)}


@pytest.mark.parametrize(("flags", "expected"), [({}, [522, 522, 522]), ({"single_word": True}, [522])])
def test_added_tokens_of_a_folder_match_as_they_say(flags, expected, tmp_path):
    read = tokenizer_files.read(parts(tmp_path / "tokenizer", added_tokens_decoder=added(522, **flags)))
    assert [each for each in content(read(["<x> a<X>b c<x>"])) if each > LAST] == expected
    (parts(tmp_path / "old") / "added_tokens.json").write_text('{"<x>": 522}')
    assert content(tokenizer_files.read(tmp_path / "old")(["a<X>b"])) == [*numbers("a</w>"), 522, *numbers("b</w>")]


FAULTS = {
    "neither tokenizer.json nor merges.txt": lambda place: (place / "merges.txt").unlink(),
    "must be 0, 1, .. without gaps": lambda place: (place / "vocab.json").write_text('{"a": 0, "b": 2}'),
    "a merge in merges.txt must be two texts": lambda place: (place / "merges.txt").write_text("a b c\n"),
    "describes a 'T5Tokenizer'; jaxdiff reads CLIPTokenizer": {"tokenizer_class": "T5Tokenizer"},
    "padding_side is 'left'": {"padding_side": "left"},
    "names the pad_token: models differ in it": {"pad": None},
    r"the pad_token '\[PAD\]' is not in the vocabulary": {"pad": "[PAD]"},
    "must be 522, after the others; got 600": {"added_tokens_decoder": added(600)},
    "`single_word` of an added token must be true or false": {"added_tokens_decoder": added(522, single_word=1)},
    r"must lie in 3 .. 65536, got 2": {"model_max_length": 2},
    "a token must be a text": {"bos_token": {"text": "a"}},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_files_are_named(fault, tmp_path):
    change = FAULTS[fault]
    place = parts(tmp_path / "tokenizer", **(change if isinstance(change, dict) else {}))
    if callable(change):
        change(place)
    with pytest.raises(InputError, match=fault):
        tokenizer_files.read(place)


def test_another_kind_of_tokenizer_is_refused(tmp_path):
    place = whole(tmp_path / "tokenizer")
    content = json.loads((place / "tokenizer.json").read_text())
    content["model"]["end_of_word_suffix"] = None
    (place / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="of type BPE with the end_of_word_suffix </w>"):
        tokenizer_files.read(place)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda small: small(["\ud800"]), "a prompt must be Unicode text"),
        (lambda small: small(["a" * 1_000_001]), "at most 1,000,000 characters"),
        (lambda small: small.with_tokens({" ": 1}), "must be a text that is no token yet"),
        (lambda small: small.with_tokens({END: 1}), "must be a text that is no token yet"),
        (lambda small: small.with_tokens({"<x>": 0}), "must stand for 1 to 75 vectors, got 0"),
        (lambda small: small.with_tokens({"<x>_1": 1}).with_tokens({"<x>": 2}), "needs '<x>_1' for its vectors"),
    ],
)
def test_prompts_and_tokens_that_are_none_are_refused(call, fault, small):
    with pytest.raises(InputError, match=fault):
        call(small)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'jaxdiff\[text\]'"):
        library()
