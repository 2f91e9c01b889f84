"""The recipe of the text-to-image pipeline, as far as it needs no PyTorch: the tokenizer's order, and its options."""

import pytest

from bench.text_checkpoint.options import Evaluate, Make
from bench.text_checkpoint.tokenizer import BEGIN, END, byte_characters, vocabulary
from jaxdiff.errors import InputError


def test_each_byte_has_a_character_of_its_own_and_printable_ones_keep_theirs():
    characters = byte_characters()
    assert len(set(characters)) == 256 and not any(character.isspace() for character in characters)
    # CLIP's: "!" is 0, and the bytes that print stand before the others
    assert characters[0] == "!" and characters[ord("a") - ord("!")] == "a"
    assert characters[:188] == [chr(code) for code in range(256) if chr(code) in characters[:188]]
    # a space is the 33rd of the others, as in GPT-2's and CLIP's vocabularies
    assert characters[188 + 32] == "\u0120"


def test_a_vocabulary_has_the_order_of_clips():
    merges = [("a", "b"), ("ab", "c</w>"), ("d", "e"), ("a", "bc</w>")]
    numbers = vocabulary(merges)
    assert [numbers[character] for character in byte_characters()] == list(range(256))
    assert [numbers[f"{character}</w>"] for character in byte_characters()] == list(range(256, 512))
    # the last merge gives a text that is a token already
    assert [numbers[text] for text in ("ab", "abc</w>", "de", BEGIN, END)] == [512, 513, 514, 515, 516]
    assert len(numbers) == 517


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Make, {"threads": 0}, "--threads must be at least 1, got 0"),
        (Make, {"seed": -1}, r"--seed must be 0 to 2\*\*32 - 1, got -1"),
        (Evaluate, {"count": 0}, "--count must be at least 1, got 0"),
        (Evaluate, {"scales": ()}, "--scales must be at least one guidance scale"),
    ],
)
def test_wrong_options_are_named(kind, given, message):
    with pytest.raises(InputError, match=message):
        kind(**given)
