"""Fair tables: concepts are found as whole words, values are put in their place, and shares are checked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdiff.conditions import fair_table
from jaxdiff.conditions.templates import parse
from jaxdiff.data import embedded_captions
from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError
from jaxdiff.fairness.fair_prompts import FairPrompts

GROUP, AGE = parse("group: square | round"), parse("age: young=young | old=with grey hair")
BOTH = {"group": (0.5, 0.5), "age": (0.25, 0.75)}
TABLE = fair_table.FairTable(
    (GROUP, AGE),
    {
        "firefighter": BOTH, "nurse": {"group": (0.5, 0.5)}, "nurse practitioner": {"group": (0.25, 0.75)},
        "policeman": {"group": (0.5, 0.5)}, "secretary": {"age": (0.5, 0.5)}, "engineer": {"group": (1.0, 0.0)},
    },
    "{group} {concept} {age}",
)  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "concept", "mentions"),
    [
        ("the face of a firefighter", "firefighter", ["firefighter"]),
        ("A FIREFIGHTER, smiling", "firefighter", ["FIREFIGHTER"]),
        ("two firefighters", "firefighter", ["firefighters"]),
        ("secretaries at work", "secretary", ["secretaries"]),
        ("three policemen", "policeman", ["policemen"]),
        ("a nurse's face", "nurse", ["nurse"]),
        ("a nurse  practitioner and a nurse", "nurse practitioner", ["nurse  practitioner"]),
        ("a nurse, a firefighter and a nurse", "nurse", ["nurse", "nurse"]),
        ("a firefighter and a nurse", "firefighter", ["firefighter"]),
        ("nursery", None, []),
        ("a nur\u017fe", "nurse", ["nur\u017fe"]),  # a long s, which is an s in another case
        ("an ex-nurse, a nurse-like person", None, []),
        ("a face", None, []),
        ("", None, []),
        ("a round nurse", None, []),
        ("a round firefighter", "firefighter", ["firefighter"]),
        ("a firefighter and a roundabout", "firefighter", ["firefighter"]),
    ],
)
def test_a_concept_is_found_as_whole_words(prompt, concept, mentions):
    found = TABLE.find(prompt)
    if concept is None:
        assert found is None and TABLE.instruct(prompt, {"group": "round"}) == prompt
    else:
        assert found.concept == concept and [prompt[start:stop] for start, stop in found.spans] == mentions


def test_what_is_left_open_and_what_else_is_mentioned():
    assert TABLE.find("a firefighter, a nurse, a secretary").others == ("nurse", "secretary")
    assert TABLE.find("a nurse practitioner").others == ()  # the nurse inside is no mention
    assert TABLE.find("a firefighter").attributes == ("group", "age")
    assert TABLE.find("a round firefighter").attributes == ("age",)
    assert TABLE.find("a firefighter with  GREY hair").attributes == ("group",)


@pytest.mark.parametrize(
    ("prompt", "values", "expected"),
    [
        ("a photo of a firefighter", {"group": "round"}, "a photo of a round firefighter"),
        ("a photo of a firefighter, smiling", {"age": "old"}, "a photo of a firefighter with grey hair, smiling"),
        ("a firefighter", {"group": "square", "age": "young"}, "a square firefighter young"),
        ("a photo of an engineer", {"group": "square"}, "a photo of a square engineer"),
        ("An engineer", {"group": "square"}, "A square engineer"),
        ("Nurses and nurses", {"group": "round"}, "round Nurses and round nurses"),
        ("an engineer", {}, "an engineer"),
        ("a secretary", {"group": "round"}, "a secretary"),
        ("a round nurse", {"group": "square"}, "a round nurse"),
        ("no concept", {"group": "square"}, "no concept"),
    ],
)
def test_an_instruction_puts_values_where_the_concept_is_mentioned(prompt, values, expected):
    assert TABLE.instruct(prompt, values) == expected


def test_an_article_follows_the_first_letter_of_what_is_put():
    table = fair_table.FairTable((parse("age: old=elderly | young=young"),), {"nurse": {"age": (0.5, 0.5)}}, "{age} {concept}")
    assert table.instruct("A face of a nurse", {"age": "old"}) == "A face of an elderly nurse"
    assert table.instruct("A nurse; the nurse", {"age": "old"}) == "An elderly nurse; the elderly nurse"
    assert table.edit_prompt("age", "young") == "young person"
    told = replace(table, neutral="man", edit="{{a}} face of a {neutral}, smiling")
    assert told.edit_prompt("age", "old") == "{a} face of an elderly man, smiling"


def test_values_that_the_table_lacks_are_errors():
    with pytest.raises(InputError, match="no value 'oval'"):
        TABLE.instruct("a nurse", {"group": "oval"})
    with pytest.raises(InputError, match="'skin'; the attributes of the fair table are group, age"):
        TABLE.edit_prompt("skin", "dark")


GOOD = '[attributes]\ngroup = ["square", "round"]\n[concepts]\nnurse = { group = "equal" }\n'


def test_a_file_is_read_with_its_defaults(tmp_path):
    (tmp_path / "table.toml").write_text(
        '[attributes]\ngroup = ["square", "round"]\nage = { young = "young", old = "80 years old" }\n'
        '[concepts]\nnurse = { group = "equal", age = { old = 0.25, young = 0.75 } }\n"police officer" = { group = "equal" }\n'
    )
    table = fair_table.load(tmp_path / "table.toml")
    assert table.texts[1].texts == ("young", "80 years old")
    assert table.concepts == {"nurse": {"group": (0.5, 0.5), "age": (0.75, 0.25)}, "police officer": {"group": (0.5, 0.5)}}
    assert table.instruct("a Police  officer", {"group": "round"}) == "a round Police officer"
    assert table.instruct("a nurse", {"group": "round", "age": "old"}) == "a round 80 years old nurse"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace('"equal"', "{ square = 0.5, round = 0.6 }"), "must lie in .* sum to one, got square 0.5, round 0.6"),
        (GOOD.replace('"equal"', "{ square = -0.5, round = 1.5 }"), r"must lie in \[0, 1\]"),
        (GOOD.replace('"equal"', "{ square = nan, round = 0.5 }"), r"must lie in \[0, 1\]"),
        (GOOD.replace('"equal"', "{ square = true, round = 0.0 }"), "'square' of concept 'nurse' must be a number, got True"),
        (GOOD.replace('"equal"', '{ square = "1", round = 0.0 }'), "must be a number, got '1'"),
        (GOOD.replace('"equal"', "{ square = 1.0 }"), "no share for 'round' of attribute 'group'"),
        (GOOD.replace('"equal"', "{ square = 0.5, oval = 0.5 }"), "share for 'oval'; attribute 'group' takes square, round"),
        (GOOD.replace('"equal"', '"same"'), "must be 'equal' or a table, got 'same'"),
        (GOOD.replace('"equal"', "0.5"), "must be 'equal' or a table, got 0.5"),
        (GOOD.replace("{ group =", "{ race ="), "concept 'nurse' has the attribute 'race'; .* are group"),
        (GOOD.replace('{ group = "equal" }', "{}"), "concept 'nurse' has no attribute; the attributes are group"),
        (GOOD.replace('{ group = "equal" }', '"group"'), "`nurse` must be a table, got 'group'"),
        (GOOD.replace('nurse = { group = "equal" }', ""), "needs one attribute and one concept at least, got 1 and 0"),
        (GOOD.replace("group = [", "concept = ["), "not concept or prompt, got concept"),
        (GOOD.replace('["square", "round"]', '["square"]'), "two values or more"),
        (GOOD.replace('["square", "round"]', "3"), "must be a list of texts or a table"),
        (GOOD.replace("nurse", '"a/b"'), "must be one or more words, got 'a/b'"),
        (GOOD + 'Nurse = { group = "equal" }\n', "'nurse' and 'Nurse' differ in case alone"),
        ('instruction = "{group}"\n' + GOOD, "each of the placeholders {group}, {concept} once"),
        ('instruction = "{group} {concept} {skin}"\n' + GOOD, "each of the placeholders"),
        ("instruction = 3\n" + GOOD, "`instruction` must be a text, got 3"),
        ('neutral = " "\n' + GOOD, "`neutral` must be a word"),
        ('edit = "a person"\n' + GOOD, "`edit` must have the placeholder {neutral} once"),
        ("tau = 0.5\n" + GOOD, "has the keys instruction, neutral, edit, attributes, concepts, got 'tau'"),
        ("attributes = 3\n", "`attributes` must be a table, got 3"),
        ("", "one concept at least, got 0 and 0"),
        ("nurse", "table.toml"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_an_error_that_names_it(tmp_path, text, message):
    file = tmp_path / "table.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        fair_table.load(file)
    assert "table.toml" in str(caught.value)


def test_the_tables_that_are_part_of_the_package():
    assert fair_table.shipped() == ("embedded", "occupations")
    table = fair_table.load("embedded")
    assert tuple(table.concepts) == tuple(embedded_captions.OCCUPATIONS)
    for concept in table.concepts:
        # as the captions have it
        assert table.instruct(embedded_captions.prompt(concept), {"group": "round"}) == embedded_captions.prompt(
            concept, "round"
        )
    assert table.edit_prompt("group", "square") == embedded_captions.prompt("person", "square")
    assert fair_table.load("occupations").instruct("two CEOs", {"gender": "female"}) == "two female CEOs"


PROMPTS = ("a firefighter", "a face", "a round secretary", "a nurse")


def test_labels_stand_for_prompts_with_values():
    fair = FairPrompts(TABLE, PROMPTS)
    assert fair.attributes == (Attribute("prompt", PROMPTS), GROUP.attribute, AGE.attribute) and fair.mixed
    assert fair.rows.tolist() == [
        [0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, -1, -1], [2, -1, 0], [2, -1, 1], [3, 0, -1], [3, 1, -1]
    ]  # fmt: skip
    table = fair.prompt_table()
    of = dict(zip(np.ndindex(4, 3, 3), table.prompts, strict=True))  # the last label of an attribute is none
    assert of[0, 1, 1] == "a round firefighter with grey hair" and of[0, 2, 2] == "a firefighter"
    assert {of[1, group, age] for group in range(3) for age in range(3)} == {"a face"}
    assert of[2, 0, 1] == "a round secretary with grey hair" and of[3, 0, 2] == of[3, 0, 1] == "a square nurse"
    assert fair.neutral()[:, 1:].tolist() == [[-1, -1]] * 9 and fair.has_value(np.arange(9)).sum() == 8
    # towards the own value, away from the other one, nothing of an attribute without
    assert fair.values == (("group", "square"), ("group", "round"), ("age", "young"), ("age", "old"))
    assert fair.signs()[[1, 4, 6]].tolist() == [[1, -1, -1, 1], [0, 0, 0, 0], [0, 0, -1, 1]]
    assert fair.edit_prompts() == ("square person", "round person", "person young", "person with grey hair")


def test_signs_of_three_values_sum_to_zero():
    table = fair_table.FairTable(
        (parse("skin: light | medium | dark"),), {"nurse": {"skin": (0.2, 0.3, 0.5)}}, "{skin} {concept}"
    )
    signs = FairPrompts(table, ("a nurse",)).signs()
    np.testing.assert_allclose(signs, [[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]])


def test_prompts_without_a_concept_alone_are_an_error():
    with pytest.raises(InputError, match="its concepts: firefighter, nurse, nurse practitioner, policeman"):
        FairPrompts(TABLE, ("a face", "a round nurse"))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.integers(0, 99))
def test_balanced_values_are_exact_for_every_prompt_and_attribute(count, seed):
    fair = FairPrompts(TABLE, PROMPTS)
    labels = fair.rows[fair.assign(count, seed=seed, mode="balanced")]
    np.testing.assert_array_equal(labels[:, 0], np.arange(count) % 4)  # prompts in turn
    for prompt, column, share in ((0, 1, 0.5), (0, 2, 0.25), (2, 2, 0.5), (3, 1, 0.5)):
        own = labels[labels[:, 0] == prompt, column]
        assert abs((own == 0).sum() - share * len(own)) < 1 and (own >= 0).all()
    assert (labels[labels[:, 0] == 1, 1:] == -1).all()


def test_drawn_values_are_a_function_of_the_seed_and_the_image():
    fair = FairPrompts(TABLE, PROMPTS)
    few, many = (fair.rows[fair.assign(count, seed=3, mode="iid")] for count in (50, 4000))
    np.testing.assert_array_equal(few, many[:50])
    assert not np.array_equal(few, fair.rows[fair.assign(50, seed=4, mode="iid")])
    first = many[many[:, 0] == 0]
    np.testing.assert_allclose((first[:, 1:] == 0).mean(0), [0.5, 0.25], atol=4 * 0.5 / np.sqrt(len(first)))
    # values of different attributes and of different prompts are independent
    assert abs(np.corrcoef(first[:, 1], first[:, 2])[0, 1]) < 4 / np.sqrt(len(first))
    assert abs(np.corrcoef(first[:, 1], many[many[:, 0] == 3, 1])[0, 1]) < 4 / np.sqrt(len(first))
