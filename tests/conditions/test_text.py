"""Prompts become the states of their text encoders; labels that stand for prompts become the rows of these."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxdiff import conditions
from jaxdiff.conditions import PromptEncoder, Prompts, Unconditional, text
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from tests.conditions import small_text
from tests.conditions.bpe import VOCABULARY
from tests.models.test_text_encoder import run

GROUP, HAIR = Attribute("group", ("man", "woman")), Attribute("hair", ("dark", "fair", "red"))
FACES = ("a man", "a woman")
CROSSED = tuple(f"{group} {hair}" for group in FACES for hair in HAIR.values)


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Prompts:
    return small_text.prompts(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Prompts:
    return small_text.of_two(tmp_path_factory.mktemp("two"))


def equal(one, other) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_condition_is_the_states_of_the_text_encoder(one):
    (encoder,) = one.encoders
    tokens = encoder.tokenizer(FACES)
    condition = one.encode_prompts(FACES)
    assert condition.keys() == {"text"} and condition["text"].shape == (2, 12, 8)
    for row in range(2):
        output = run(encoder.network, tokens.ids[row : row + 1], tokens.ends[row : row + 1])
        np.testing.assert_array_equal(condition["text"][row], output.hidden[0])


def test_the_condition_of_two_text_encoders(two):
    condition = two.encode_prompts(FACES)
    hidden = []
    for encoder in two.encoders:
        tokens = encoder.tokenizer(FACES[:1])
        output = run(encoder.network, tokens.ids, tokens.ends, skip=1, normalised=False)
        hidden.append(output.hidden[0])
    np.testing.assert_array_equal(condition["text"][0], np.concatenate(hidden, -1))
    np.testing.assert_array_equal(condition["pooled"][0], output.pooled[0])
    assert condition["pooled"].shape == (2, 5)
    np.testing.assert_array_equal(condition["sizes"], [[64, 96, 0, 0, 64, 96]] * 2)


def test_a_prompt_is_encoded_by_itself_and_by_one_program(one):
    together = one.encode_prompts([*FACES, "a man"])
    programs = text._encoded._cache_size()
    for row, prompt in enumerate([*FACES, "a man"]):
        equal(one.encode_prompts([prompt]), {"text": together["text"][row : row + 1]})
    equal(one.with_negative("a woman").null, {"text": together["text"][1]})
    assert text._encoded._cache_size() == programs


@pytest.mark.parametrize("kind", ["one", "two"])
def test_labels_stand_for_prompts(kind, request):
    faces = request.getfixturevalue(kind).with_prompts([GROUP], FACES)
    equal(faces.encode(np.array([1, 0, 1])), faces.encode_prompts([FACES[1], FACES[0], FACES[1]]))
    equal(faces.encode(np.array([[0], [-1]])), jax.tree.map(lambda *rows: np.stack(rows), row(faces, "a man"), faces.null))
    assert faces.values == (2,) and faces.attribute("group") == (0, GROUP) and not faces.separate


def row(encoder: Prompts, prompt: str):
    return jax.tree.map(lambda leaf: leaf[0], encoder.encode_prompts([prompt]))


def test_crossed_attributes_stand_for_prompts_the_last_fastest(one):
    faces = one.with_prompts([GROUP, HAIR], CROSSED)
    given = faces.encode(np.array([[0, 0], [0, 2], [1, 0], [-1, -1]]))
    equal(given, one.encode_prompts(["a man dark", "a man red", "a woman dark", ""]))
    with pytest.raises(InputError, match="must be that of all attributes or of none"):
        faces.encode(np.array([[0, -1]]))
    with pytest.raises(InputError, match=r"labels of attribute 1 must lie in -1 \(null\) .. 2"):
        faces.encode(np.array([[0, 3]]))


def test_without_attributes_all_samples_have_the_one_prompt(one):
    alone = one.with_prompts((), ("a photo",))
    equal(alone.encode(np.zeros((2, 0), np.int32)), one.encode_prompts(["a photo"] * 2))
    equal(one.encode(np.zeros((1, 0), np.int32)), one.encode_prompts([""]))


def test_the_null_condition_is_that_of_the_negative_prompt(two):
    equal(two.null, row(two, ""))
    equal(two.with_negative("a photo").null, row(two, "a photo"))
    zeros = dataclasses.replace(two, zeros=True)
    for name in ("text", "pooled"):
        assert not zeros.null[name].any() and zeros.null[name].shape == two.null[name].shape
    np.testing.assert_array_equal(zeros.null["sizes"], two.null["sizes"])
    equal(zeros.with_negative("").null, two.null)
    equal(zeros.encode(np.zeros((1, 0), np.int32)), two.encode_prompts([""]))


def test_a_new_token_stands_for_its_embeddings(one, two):
    def of(encoder, *names):
        table = encoder.network.weights["embeddings"]["token_embedding"]["embedding"]
        return np.asarray(table)[[VOCABULARY[name] for name in names]]

    for encoder in (one, two):
        more = encoder.with_vectors({"<face>": [of(each, "man</w>", "photo</w>") for each in encoder.encoders]})
        more = more.with_vectors({"<one>": [of(each, "woman</w>") for each in encoder.encoders]})
        equal(more.encode_prompts(["a <face> a <one>"]), encoder.encode_prompts(["a man photo a woman"]))
        equal(more.encode_prompts(["a man"]), encoder.encode_prompts(["a man"]))
    with pytest.raises(InputError, match="has embeddings for 1 text encoders, and the model has 2"):
        two.with_vectors({"<x>": [np.zeros((1, 8), np.float32)]})
    with pytest.raises(InputError, match=r"must have shape \(n, 8\) for this text encoder, got \(1, 9\)"):
        one.with_vectors({"<x>": [np.zeros((1, 9), np.float32)]})


def test_what_prompts_lose_is_told_once(one):
    assert one.cut(["a man", "a " * 12, "a " * 12, "man " * 10 + "photo, a man"]) == {
        "a " * 12: "a a ", "man " * 10 + "photo, a man": "photo, a man"
    }  # fmt: skip


def test_values_are_replaced_in_conditions_and_pairs_of_them(one):
    faces = one.with_prompts([GROUP], FACES)
    start, end = faces.encode(np.array([0, 0, 1])), faces.encode(np.array([1, 1, 0]))
    women = one.encode_prompts(["a woman"] * 3)
    equal(faces.replacing([("group", "woman")])((start, end)), (women, women))
    with pytest.raises(InputError, match="give one of each of group, hair, got group"):
        one.with_prompts([GROUP, HAIR], CROSSED).replacing([("group", "man")])
    with pytest.raises(InputError, match="has no value 'child'"):
        faces.replacing([("group", "child")])


def test_encoders_are_equal_that_make_the_same_of_prompts(one, tmp_path):
    again = small_text.prompts(tmp_path)
    assert again == one and hash(again.encoders[0]) == hash(one.encoders[0])
    assert again.config() == one.config() and json.loads(json.dumps(one.config())) == one.config()
    (encoder,) = one.encoders
    changed = [
        one.with_prompts((), ("a",)), one.with_negative(""),
        Prompts((dataclasses.replace(encoder, skip=1),)), Prompts((small_text.encoder(tmp_path, pad="<|endoftext|>"),)),
        one.with_vectors({"<x>": [np.zeros((1, 8), np.float32)]}),
    ]  # fmt: skip
    for other in changed:
        assert other != one and other.config() != one.config()
    assert one != Unconditional()
    with pytest.raises(InputError, match="need the text encoders: read the folder"):
        conditions.from_config(one.config())


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda one: Prompts(()), "`encoders` must be one or two, got 0"),
        (lambda one: Prompts(one.encoders * 2), "`size`, the height and width of the images, .* give it"),
        (lambda one: one.with_prompts([GROUP, HAIR], FACES), "`prompts` must be 6, one for each combination .* got 2"),
        (lambda one: one.encode_prompts([]), "`prompts` must be a list of one or more"),
        (lambda one: one.encode_prompts("a man"), "`prompts` must be a list of one or more, got 'a man'"),
        (lambda one: dataclasses.replace(one.encoders[0], skip=3), "`skip` must lie in 0 .. 2"),
        (lambda one: fewer(one, vocabulary=10), "the tokenizer has 522 tokens, and the text encoder takes 10"),
        (lambda one: fewer(one, positions=11), "prompts have 12 tokens, and the text encoder takes 11"),
    ],
)
def test_what_does_not_fit_is_refused(make, fault, one):
    with pytest.raises(InputError, match=fault):
        make(one)


def fewer(one: Prompts, **settings) -> PromptEncoder:
    (encoder,) = one.encoders
    return dataclasses.replace(encoder, config=dataclasses.replace(encoder.config, **settings))
