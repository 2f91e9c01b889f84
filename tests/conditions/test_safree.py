"""SAFREE's filter of prompts, against the formulas written out token by token and NumPy's pseudo-inverse."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from jaxdiff.conditions import safree, text
from jaxdiff.errors import InputError
from jaxdiff.models.network import Network
from tests.conditions import small_text
from tests.models.test_text_encoder import run

PROMPTS = ("a photo of", "man cat dog", "woman", "", "a cat, a man")
CONCEPTS = ("a cat", "two cats")


@pytest.fixture(scope="module")
def conditions(tmp_path_factory):
    return small_text.prompts(tmp_path_factory.mktemp("one"))


def onto(columns: np.ndarray) -> np.ndarray:
    """The published formula, with the pseudo-inverse."""
    return columns @ np.linalg.pinv(columns.T @ columns) @ columns.T


def by_hand(encoder, prompt: str, concepts, threshold=0.01, slope=2.5, midpoint=5.333, most=10, xl=False):
    """The filtered states, the masked positions, b and t' of a prompt, one token after another."""
    kind = {"skip": 1, "normalised": False} if xl else {}

    def at_end(ids, end):
        found = run(encoder.network, ids[None], end[None])
        return np.asarray(found.pooled[0] if xl else found.hidden[0, end], np.float64)

    said, tokens = encoder.tokenizer(concepts), encoder.tokenizer([prompt])
    away = np.eye(encoder.config.width) - onto(np.stack([at_end(*each) for each in zip(said.ids, said.ends, strict=True)], 1))
    ids, end = tokens.ids[0], tokens.ends[0]
    states = np.asarray(run(encoder.network, tokens.ids, tokens.ends, **kind).hidden[0])
    without = []
    for place in range(1, end):
        changed = ids.copy()
        changed[place] = 0
        without.append(at_end(changed, end))
    distances = [np.linalg.norm(away @ each) for each in without]
    inside, expected, masked = onto(np.stack(without, 1)), states.astype(np.float64), []
    for place, own in enumerate(distances):
        if own >= (1 + threshold) * np.mean(distances[:place] + distances[place + 1 :]):
            masked.append(place + 1)
            expected[place + 1] = away @ inside @ states[place + 1]
    cosines = []
    for state in states[: end + 1].astype(np.float64):
        moved = away @ inside @ state
        cosines.append(moved @ state / np.linalg.norm(moved) / np.linalg.norm(state))
    b = 1 - np.mean(cosines)
    return expected, masked, b, round(most / (1 + math.exp(-2 * slope * (10 * b - midpoint)))) if masked else -1


@pytest.mark.parametrize("numbers", [{}, {"threshold": 0.0, "slope": 0.7, "midpoint": 3.0, "share": 0.5}], ids=str)
def test_the_filter_is_that_of_the_formulas_token_by_token(conditions, numbers):
    prompts = ("man cat dog", "a cat, a man", "a photo of")
    found = safree.filter_prompts(conditions, prompts, CONCEPTS, **numbers)
    most = {"most": 50 * share} if (share := numbers.get("share")) else {}
    given = {name: value for name, value in numbers.items() if name != "share"}
    plain = conditions.encode_prompts(prompts)["text"]
    for row, prompt in enumerate(prompts):
        expected, masked, b, last = by_hand(conditions.encoders[0], prompt, CONCEPTS, **given, **most)
        assert np.flatnonzero(found.masked[row]).tolist() == masked
        np.testing.assert_allclose(found.text[row], expected, rtol=2e-6, atol=2e-6)
        np.testing.assert_array_equal(found.text[row][~found.masked[row]], plain[row][~found.masked[row]])
        assert found.last[row] == last and found.moved[row] == pytest.approx(b if masked else 0.0, abs=1e-9)
    assert found.text.dtype == np.float32 and 0 < found.masked.sum() < 20


def test_a_projection_is_the_published_one(rng):
    vectors = rng.normal(size=(4, 9))
    found = safree.projection(vectors)
    np.testing.assert_allclose(found, onto(vectors.T), atol=1e-12)
    np.testing.assert_allclose(found @ found, found, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found @ vectors.T, vectors.T, atol=1e-12)
    # what is there again, or a sum of others, adds nothing
    np.testing.assert_allclose(safree.projection(np.stack([*vectors, vectors[0], vectors[1] - vectors[2]])), found, atol=1e-12)
    np.testing.assert_array_equal(safree.projection(np.zeros((2, 9))), 0)
    np.testing.assert_array_equal(safree.projection(np.zeros((0, 9))), 0)


def test_what_lies_in_the_concepts_is_taken_out_and_what_is_orthogonal_stays(rng):
    axes = np.linalg.qr(rng.normal(size=(9, 9)))[0].T
    concepts, prompt = safree.projection(axes[:2]), safree.projection(axes[1:6])
    np.testing.assert_allclose(
        safree.projected(axes, prompt, concepts), axes * np.repeat([0, 1, 0], [2, 4, 3])[:, None], atol=1e-12
    )
    assert safree.distance(axes, safree.projected(axes, prompt, concepts)) == pytest.approx(1 - 4 / 9, abs=1e-12)


def test_a_token_is_masked_where_the_prompt_without_it_is_farther_from_the_concepts():
    concepts = np.diag([0.0] * 4 + [1.0])
    for distances, threshold, masked in (
        ([1.0, 1.0, 1.0, 1.1], 0.01, [3]),
        ([1.0, 1.0, 1.0, 1.1], 0.2, []),
        ([1.0, 1.0, 1.0, 1.0], 0.01, []),  # a prompt whose tokens all matter alike
        ([1.0, 1.0, 1.0, 1.0], 0.0, [0, 1, 2, 3]),  # at the bound
        ([1.0, 2.0], 0.01, [1]),
        ([0.5], 0.01, [0]),
        ([], 0.01, []),
    ):
        states = np.zeros((len(distances), 5))
        states[:, 0], states[:, 4] = distances, np.arange(len(distances)) * 10  # what lies in the concepts does not count
        assert np.flatnonzero(safree.masked_tokens(states, concepts, threshold)).tolist() == masked


def test_the_last_step_is_that_of_the_published_rule():
    distances = np.linspace(0, 2, 801).tolist()
    found = [safree.last_step(b) for b in distances]
    assert found == [round(10 / (1 + math.exp(-5 * (10 * b - 5.333)))) for b in distances]
    assert found == sorted(found) and found[0] == 0 and found[-1] == 10 and len(set(found)) == 11
    assert safree.last_step(0.55, slope=3.5, midpoint=5.5) == 5 and safree.last_step(1.0, share=1.0) == 50


def test_the_transition_is_at_the_same_part_of_the_steps():
    last = np.array([-1, 0, 4, 10, 49, 50])
    published = np.linspace(1, 0, 51).astype(np.float32)
    np.testing.assert_array_equal(safree.transition(last, published), [1, *published[[1, 5, 11, 50, 50]]])
    for steps in (10, 25, 100):
        nodes = np.linspace(1, 0, steps + 1)
        np.testing.assert_allclose(safree.transition(last, nodes), [1, 0.98, 0.9, 0.78, 0, 0], atol=1e-7)
    # a solver whose nodes are not uniform: steps count, not times
    assert safree.transition(np.array([9]), np.array([1.0, 0.7, 0.3, 0.2, 0.1, 0.0]))[0] == np.float32(0.7)


def test_without_concepts_or_a_masked_token_prompts_are_as_they_are(conditions):
    plain = conditions.encode_prompts(PROMPTS)["text"]
    for found in (
        safree.filter_prompts(conditions, PROMPTS, ()),
        safree.filter_prompts(conditions, [*PROMPTS[:2], *PROMPTS[3:]], CONCEPTS, threshold=1e6),
    ):
        expected = plain if len(found.text) == len(plain) else np.delete(plain, 2, 0)
        np.testing.assert_array_equal(found.text, expected)
        assert not found.masked.any() and (found.last == -1).all() and (found.moved == 0).all()
        assert (safree.transition(found.last, np.linspace(1, 0, 6)) == 1).all()


def test_a_prompt_is_filtered_by_itself_and_other_prompts_compile_nothing(conditions):
    together = safree.filter_prompts(conditions, [*PROMPTS, PROMPTS[1]], CONCEPTS)
    programs = text._encoded._cache_size()
    for row in (1, 3, 4):
        alone = safree.filter_prompts(conditions, [PROMPTS[row]], CONCEPTS)
        jax.tree.map(np.testing.assert_array_equal, alone, jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], together))
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[1], leaf[-1]), together)
    safree.filter_prompts(conditions, ["two dogs"], ["man"], threshold=0.5)
    assert text._encoded._cache_size() == programs
    assert together.last[3] == -1 and not together.masked[:, 0].any()


def test_programs_that_are_not_run_need_no_weights(conditions):
    (encoder,) = conditions.encoders
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), encoder.network.weights)
    bare = dataclasses.replace(
        conditions, encoders=(dataclasses.replace(encoder, network=Network(shapes, encoder.network.structure)),)
    )
    assert safree.filter_prompts(bare, PROMPTS, CONCEPTS).text.shape == (5, 12, 8)


def test_states_at_the_end_are_those_before_the_projection(tmp_path):
    """Those of the last layer, whatever layers the hidden states leave out."""
    encoder = small_text.encoder(tmp_path, projection=5, skip=1)
    tokens = encoder.tokenizer(PROMPTS)
    found = encoder.end_states(tokens.ids, tokens.ends)
    kernel = np.asarray(encoder.network.weights["text_projection"]["kernel"])
    np.testing.assert_allclose(found @ kernel, encoder(PROMPTS).pooled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": -0.1}, "`threshold` must be at least 0, got -0.1"),
        ({"slope": 0.0}, "`slope` must be above 0"),
        ({"midpoint": float("nan")}, "`midpoint` must"),
        ({"share": 0.0}, r"`share` must lie in \(0, 1\], got 0.0"),
        ({"share": 1.1}, r"`share` must lie in \(0, 1\]"),
        ({"prompts": ()}, "`prompts` must be a list of one or more"),
        ({"prompts": "a cat"}, "`prompts` must be a list of one or more, got 'a cat'"),
        ({"concepts": "a cat"}, "`concepts` must be a list, got 'a cat'"),
        ({"concepts": ["\ud800"]}, "must be Unicode text"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error(conditions, given, message):
    with pytest.raises(InputError, match=message):
        safree.filter_prompts(conditions, **{"prompts": PROMPTS, "concepts": CONCEPTS, **given})


def test_of_two_text_encoders_the_second_is_filtered(tmp_path):
    """By its projected states at the end token; what the first says stays, bit for bit."""
    conditions, prompts = small_text.of_two(tmp_path, projection=6), ("man cat dog", "a cat, a man", "a photo of")
    found, plain = safree.filter_prompts(conditions, prompts, CONCEPTS), conditions.encode_prompts(prompts)["text"]
    for row, prompt in enumerate(prompts):
        expected, masked, b, last = by_hand(conditions.encoders[1], prompt, CONCEPTS, xl=True)
        assert np.flatnonzero(found.masked[row]).tolist() == masked
        np.testing.assert_array_equal(found.text[row, :, :8], plain[row, :, :8])
        np.testing.assert_allclose(found.text[row, :, 8:], expected, rtol=2e-5, atol=2e-5)
        assert found.last[row] == last and found.moved[row] == pytest.approx(b if masked else 0.0, abs=1e-6)
    assert 0 < found.masked.sum() < 20


def test_hidden_states_of_another_kind_than_those_at_the_end_token_are_refused(tmp_path):
    with pytest.raises(InputError, match="both must be as wide; got 6 and 5"):
        safree.filter_prompts(small_text.of_two(tmp_path), PROMPTS, CONCEPTS)
    with pytest.raises(InputError, match="the hidden states of this text encoder are not"):
        safree.filter_prompts(text.Prompts((small_text.encoder(tmp_path, seed=2, normalised=False),)), PROMPTS, CONCEPTS)
