"""The captions of the generated faces: true to the labels, with occupations at the stated shares."""

import re
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from jaxdiff.data.attributes import find
from jaxdiff.data.embedded import ATTRIBUTES, labels
from jaxdiff.data.embedded_captions import FREQUENCIES, OCCUPATION, OCCUPATIONS, PHRASES, captions, occupations, prompt
from jaxdiff.errors import InputError

COUNT = 40_000
SMALLEST = 1e-4  # p-value of a frequency that is as stated
INDICES = np.arange(COUNT)
PHRASE = "|".join(phrase for values in PHRASES.values() for phrase in values)
GRAMMAR = re.compile(
    rf"(?P<start>a color photo of the face of an? )?((?P<group>square|round) )?(?P<person>person|{'|'.join(OCCUPATIONS)})?"
    rf" ?(?P<phrases>(?:{PHRASE})(?:, (?:{PHRASE}))*)?"
)


class Parsed(NamedTuple):
    start: str | None
    person: str | None
    group: str | None
    phrases: list[str]


@pytest.fixture(scope="module")
def table():
    return labels(INDICES)


@pytest.fixture(scope="module")
def persons(table):
    return occupations(table, INDICES)


@pytest.fixture(scope="module")
def texts(table):
    return captions(table, INDICES)


def parsed(text):
    """The parts of a caption that is not empty."""
    found = GRAMMAR.fullmatch(text)
    return Parsed(found["start"], found["person"], found["group"], found["phrases"].split(", ") if found["phrases"] else [])


def test_the_frequencies_of_occupations_give_half_of_all_faces_a_square_jaw():
    assert list(FREQUENCIES) == list(OCCUPATIONS) == list(OCCUPATION.values)
    assert sum(FREQUENCIES.values()) == pytest.approx(1, abs=1e-12)
    assert sum(FREQUENCIES[name] * OCCUPATIONS[name] for name in OCCUPATIONS) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("occupation", OCCUPATIONS)
def test_an_occupation_has_the_stated_share_of_each_group(table, persons, occupation):
    of = persons == OCCUPATION.index(occupation)
    assert stats.binomtest(int(of.sum()), COUNT, FREQUENCIES[occupation]).pvalue > SMALLEST
    square = int((table[of, 0] == 0).sum())
    assert stats.binomtest(square, int(of.sum()), OCCUPATIONS[occupation]).pvalue > SMALLEST


def test_an_occupation_depends_on_the_group_alone(table, persons):
    for group in (0, 1):
        of = table[:, 0] == group
        for column in range(1, len(ATTRIBUTES)):
            counts = stats.contingency.crosstab(table[of, column], persons[of]).count
            assert stats.chi2_contingency(counts, correction=False).pvalue > SMALLEST


def test_captions_say_what_the_labels_and_occupations_are(table, persons, texts):
    for row, person, text in zip(table[:4000], persons, texts, strict=False):
        if text:
            start, name, group, named = parsed(text)
            assert name in (
                ("person", OCCUPATION.values[person]) if start or not named else (None, "person", OCCUPATION.values[person])
            )
            assert group in (None, ATTRIBUTES[0].values[row[0]]) and (name or not group)
            assert len(set(named)) == len(named)
            assert set(named) <= {PHRASES[name][row[find(ATTRIBUTES, name)]] for name in PHRASES}
            if start:
                assert text == prompt(name, group, named)


def test_captions_have_every_form_at_its_rate(texts):
    count = len(PHRASES) + 1
    found = [parsed(text) for text in texts if text]
    starts, names = sum(bool(each.start) for each in found), sum(bool(each.person) for each in found)
    assert stats.binomtest(COUNT - len(found), COUNT, 0.1).pvalue > SMALLEST
    assert stats.binomtest(starts, COUNT, 0.7).pvalue > SMALLEST
    # phrases alone, a tenth, where there are any
    assert stats.binomtest(len(found) - names, COUNT, 0.1 * (count - 1) / count).pvalue > SMALLEST


def test_any_number_of_phrases_is_equally_likely_in_any_order(texts):
    named = [parsed(text).phrases for text in texts if text]
    assert stats.chisquare(np.bincount([len(each) for each in named], minlength=len(PHRASES) + 1)).pvalue > SMALLEST
    first = [each[0] for each in named if each]
    for values in PHRASES.values():
        assert stats.binomtest(sum(bool(set(values) & set(each)) for each in named), len(named), 0.5).pvalue > SMALLEST
        assert stats.binomtest(sum(each in values for each in first), len(first), 1 / len(PHRASES)).pvalue > SMALLEST


@pytest.mark.parametrize(("occupation", "share"), [*OCCUPATIONS.items(), ("person", 0.5)])
def test_captions_that_leave_the_group_open_have_the_stated_share(table, texts, occupation, share):
    of = [row for row, text in enumerate(texts) if text and parsed(text)[1:3] == (occupation, None)]
    assert len(of) > 1500
    assert stats.binomtest(int((table[of, 0] == 0).sum()), len(of), share).pvalue > SMALLEST


def test_a_caption_is_a_function_of_its_index_seed_labels_and_variant(table, texts):
    order = np.random.default_rng(0).permutation(COUNT)[:300]
    assert captions(table[order], order) == [texts[place] for place in order]
    few = INDICES[:300]
    for other in (captions(table[:300], few, variant=1), captions(table[:300], few, seed=1)):
        assert np.mean([a == b for a, b in zip(texts, other, strict=False)]) < 0.1
    # another hair, and only its phrase changes
    column, changed = find(ATTRIBUTES, "hair"), table[:300].copy()
    changed[:, column] = 1 - changed[:, column]
    swapped = [text.replace("short", "?").replace("long", "short").replace("?", "long") for text in texts[:300]]
    assert captions(changed, few) == swapped


def test_captions_of_an_image_name_phrases_independently(table, texts):
    def named(some):
        return np.array([[any(phrase in text for phrase in values) for values in PHRASES.values()] for text in some])

    few = 10_000
    first, second = named(texts[:few]), named(captions(table[:few], INDICES[:few], variant=1))
    for one in first.T:
        for other in second.T:
            counts = stats.contingency.crosstab(one, other).count
            assert stats.chi2_contingency(counts, correction=False).pvalue > SMALLEST


def test_phrases_name_their_values():
    for attribute in ATTRIBUTES[1:]:
        for value, phrase in zip(attribute.values, PHRASES[attribute.name], strict=True):
            if attribute.values == ("no", "yes"):
                assert (
                    (phrase == "smiling" or phrase.startswith("with "))
                    if value == "yes"
                    else (phrase == "with a serious look" or phrase.startswith("without "))
                )
            else:
                assert f" {value} " in phrase


def test_prompts_are_sentences():
    assert prompt() == "a color photo of the face of a person"
    assert prompt("engineer") == "a color photo of the face of an engineer"
    assert prompt("engineer", "round", ["smiling", "with glasses"]) == (
        "a color photo of the face of a round engineer smiling, with glasses"
    )


def test_wrong_input_is_named(table):
    with pytest.raises(InputError, match=r"`labels` must have a row for each of 3 indices .* got shape \(2, 9\)"):
        captions(table[:2], INDICES[:3])
    with pytest.raises(InputError, match=r"`labels` must have .* got shape \(3, 8\)"):
        occupations(table[:3, 1:], INDICES[:3])
    with pytest.raises(InputError, match="`indices` must be at least 0, got -1"):
        occupations(table[:1], np.array([-1]))
    with pytest.raises(InputError, match="`variant` must be at least 0, got -1"):
        captions(table[:2], INDICES[:2], variant=-1)
