"""Texts that users write become attributes and their prompts, crossed, or an error that says what is wrong."""

import pytest

from jaxdiff.conditions import templates
from jaxdiff.conditions.templates import PromptTable, expand, of_pair, parse, read
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError

FACES = "a color photo of the face of a"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (f"group: {FACES} man | {FACES} woman", ("man", "woman")),
        ("age:young|old|very old", ("young", "old", "very old")),
        ("group: a man, smiling | a woman, smiling", ("man", "woman")),
        ("group: a photo of a man | a photo of an old man", ("a", "an old")),
        ("hair: a man: short hair | a man: long hair", ("short", "long")),
        ("group: m=a man | w = x=a woman", None),
        ("group: m=a man | w=a woman, x=1", ("m", "w")),
    ],
)
def test_the_values_of_a_pair_are_named_or_called_by_their_own_words(text, values):
    if values is None:
        with pytest.raises(InputError, match="names some values as VALUE=TEXT, but not that of 'w = x=a woman'"):
            parse(text)
        return
    found = parse(text)
    assert found.attribute.values == values and found.attribute.name == text.split(":")[0]


def test_a_pair_is_a_prompt_for_each_value():
    assert of_pair(f"group: {FACES} man | {FACES} woman") == PromptTable(
        (Attribute("group", ("man", "woman")),), (f"{FACES} man", f"{FACES} woman")
    )
    assert of_pair("group: m=a man|w=a woman").prompts == ("a man", "a woman")


def test_a_template_crosses_the_values_the_last_fastest():
    group, age = parse("group: man | woman"), parse("age: young=young | old=80 years old")
    found = expand("a {age} {group}, {{{group}}}", [group, age])
    assert found.attributes == (group.attribute, age.attribute)
    assert found.prompts == (
        "a young man, {man}", "a 80 years old man, {man}", "a young woman, {woman}", "a 80 years old woman, {woman}"
    )  # fmt: skip


def test_a_file_of_toml_is_a_template_and_its_values(tmp_path):
    file = tmp_path / "faces.toml"
    file.write_text(f'prompt = "{FACES} {{age}} {{group}}"\ngroup = ["man", "woman"]\n[age]\nyoung = "young"\nold = "gray"\n')
    group, age = Attribute("group", ("man", "woman")), Attribute("age", ("young", "old"))
    prompts = tuple(f"{FACES} {each}" for each in ("young man", "gray man", "young woman", "gray woman"))
    assert read(file) == PromptTable((group, age), prompts)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a man | a woman", 'are given as "NAME: TEXT | TEXT'),
        ("the group: a | b", "are given as"),
        ("group: a man", "needs two texts or more"),
        ("group: a man | ", "needs two texts or more"),
        ("group: a man | a man", "has no words of its own, 'a man': name it, as VALUE=TEXT"),
        ("group: a man | a smiling man", "has no words of its own, 'a man'"),
        ("group: m=a man | w=a man", "two values of attribute 'group' have the same text 'a man'"),
        ("group: m=a man | m=a woman", "must have different names, got m"),
        ("group: a a+b | a c", r"must have none of \+ , = \| in it, got 'a\+b'"),
    ],
)
def test_faults_of_a_pair_are_named(text, fault):
    with pytest.raises(InputError, match=fault):
        parse(text)


@pytest.mark.parametrize(
    ("template", "names", "fault"),
    [
        ("a {group}", ["group", "age"], "lacks the placeholder {age}"),
        ("a {group} {age}", ["group"], "has the placeholder {age}, and the attributes are group"),
        ("a {group", ["group"], "has a brace alone"),
        ("a {group!r}", ["group"], "a placeholder of a template is {NAME}"),
        ("a {group:>3} {}", ["group"], "a placeholder of a template is {NAME}"),
        ("a {group.x}", ["group"], "a placeholder of a template is {NAME}"),
        ("a {group}", ["group", "group"], "of different names, got group, group"),
        ("a", [], "of different names, got none"),
    ],
)
def test_faults_of_a_template_are_named(template, names, fault):
    with pytest.raises(InputError, match=fault):
        expand(template, [parse(f"{name}: x | y") for name in names])


def test_a_template_has_a_bounded_number_of_prompts():
    numbers = [parse(f"a{place}: " + " | ".join(map(str, range(101)))) for place in range(2)]
    with pytest.raises(InputError, match="have 10,201 combinations; at most 10,000 are taken"):
        expand("{a0} {a1}", numbers)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("group = ['a', 'b']", "`prompt` must be a text with placeholders {NAME}"),
        ("prompt = '{group}'", "takes one attribute or more"),
        ("prompt = '{group}'\ngroup = 'man'", "attribute 'group' must be a list of texts or a table"),
        ("prompt = '{group}'\ngroup = ['a', 3]", "attribute 'group' must be a list of texts or a table"),
        ("prompt = '{group}'\ngroup = ['a', 'a']", "must have different names"),
        ("prompt = '{group}'\ngroup = ['a']", "needs two values or more, got 1"),
        ("prompt = '{g p}'\n'g p' = ['a', 'b']", "must be of letters, digits, _ and -"),
        ("prompt = ", "faces.toml is damaged"),
    ],
)
def test_faults_of_a_file_are_named(content, fault, tmp_path):
    (tmp_path / "faces.toml").write_text(content)
    with pytest.raises(InputError, match=fault) as raised:
        templates.read(tmp_path / "faces.toml")
    assert "faces.toml" in str(raised.value)


def test_values_are_described_by_the_prompts_of_all_combinations(tmp_path):
    file = tmp_path / "faces.toml"
    file.write_text(
        'prompt = ["a {age} {group}", "photo of a {group}, {age}"]\n'
        'group = ["man", "woman"]\nage = { young = "young", old = "80 years old" }\n'
    )
    group, age = templates.read_descriptions(file)
    assert group.attribute == Attribute("group", ("man", "woman")) and age.attribute == Attribute("age", ("young", "old"))
    assert group.prompts == (
        ("a young man", "a 80 years old man", "photo of a man, young", "photo of a man, 80 years old"),
        ("a young woman", "a 80 years old woman", "photo of a woman, young", "photo of a woman, 80 years old"),
    )
    assert age.prompts[1] == (
        "a 80 years old man", "a 80 years old woman", "photo of a man, 80 years old", "photo of a woman, 80 years old",
    )  # fmt: skip
    file.write_text('prompt = "a {group}"\ngroup = { m = "man", w = "woman" }\n')
    alone = templates.read_descriptions(file)
    assert alone == (templates.describe("group: m=a man | w=a woman"),)
    assert alone[0].prompts == (("a man",), ("a woman",))


@pytest.mark.parametrize("given", ["", "prompt = []", 'prompt = ["a {group}", 3]', 'prompt = [" "]'])
def test_a_template_that_is_none_describes_nothing(given, tmp_path):
    file = tmp_path / "faces.toml"
    file.write_text(f'{given}\ngroup = ["man", "woman"]\n')
    with pytest.raises(InputError, match="`prompt` must be a template, or a list of them"):
        templates.read_descriptions(file)
