"""Prompts for the values of attributes, from texts that users write: the prompts of a pair, or a template and its values."""

import math
import os
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from jaxdiff.boundary import read_text, reading
from jaxdiff.bounds import shortened
from jaxdiff.data.attributes import PROMPT, Attribute
from jaxdiff.errors import InputError

MOST_PROMPTS = 10_000
"""Limit of the combinations of values."""
_NAME = re.compile(r"\w[\w-]*")
_FORM = '"NAME: TEXT | TEXT ..." or "NAME: VALUE=TEXT | VALUE=TEXT ..."'
_STOPS = ".,;:!?"


@dataclass(frozen=True)
class Texts:
    """The texts that stand for the values of an attribute.

    Attributes:
        attribute: name and values.
        texts: a text for each value.
    """

    attribute: Attribute
    texts: tuple[str, ...]

    def text_of(self, value: str) -> str:
        """The text of a value. Raises `InputError` for one that the attribute does not have."""
        return self.texts[self.attribute.index(value)]


@dataclass(frozen=True)
class PromptTable:
    """A prompt for each combination of the values of attributes.

    Attributes:
        attributes: the attributes.
        prompts: the prompts, the values of the last attribute varying fastest.
    """

    attributes: tuple[Attribute, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Descriptions:
    """Prompts that describe the values of an attribute.

    Attributes:
        attribute: name and values.
        prompts: of each value, one or more.
    """

    attribute: Attribute
    prompts: tuple[tuple[str, ...], ...]


def parse(text: str) -> Texts:
    """The texts of an attribute, as users write them on the command line.

    Arguments:
        text: `NAME: TEXT | TEXT ..` or `NAME: VALUE=TEXT | VALUE=TEXT ..`. Without values, these are called by the words in
            which the texts differ: those of `group: the face of a man | the face of a woman` are `man` and `woman`.

    Raises:
        InputError: it has another form, there are fewer than two texts or two are equal, or values are named twice, for some
            texts only, or not named where a text has no words of its own.
    """
    name, colon, rest = text.partition(":")
    parts = [part.strip() for part in rest.split("|")]
    if not colon or not _NAME.fullmatch(name.strip()):
        raise InputError(f"the prompts of an attribute are given as {_FORM}, got {shortened(text)}")
    if len(parts) < 2 or not all(parts):
        raise InputError(f"attribute {name.strip()!r} needs two texts or more, separated by |, got {shortened(rest.strip())}")
    named = [re.fullmatch(rf"({_NAME.pattern})=\s*(.*)", part, re.DOTALL) for part in parts]
    if any(named) and not all(named):
        without = next(part for part, found in zip(parts, named, strict=True) if not found)
        raise InputError(f"attribute {name.strip()!r} names some values as VALUE=TEXT, but not that of {shortened(without)}")
    texts = [found[2] if found else part for part, found in zip(parts, named, strict=True)]
    values = [found[1] for found in named if found] or _own_words(name.strip(), texts)
    return _texts(name.strip(), dict(zip(values, texts, strict=True)), len(texts))


def expand(template: str, texts: Sequence[Texts]) -> PromptTable:
    """The prompts of a template.

    Arguments:
        template: a prompt with the placeholder `{NAME}` for each attribute; braces that are meant are doubled.
        texts: what the placeholders stand for.

    Raises:
        InputError: an attribute has no placeholder or a placeholder no attribute, two have one name, a brace is alone, or
            there are more than `MOST_PROMPTS` combinations.
    """
    names = [each.attribute.name for each in texts]
    if not names or len(set(names)) < len(names):
        raise InputError(f"a template takes one attribute or more of different names, got {', '.join(names) or 'none'}")
    parts = pieces(template)
    used = {name for _, name in parts if name is not None}
    known = ", ".join(names)
    if unknown := sorted(used - set(names)):
        raise InputError(f"{shortened(template)} has the placeholder {{{unknown[0]}}}, and the attributes are {known}")
    if unused := [name for name in names if name not in used]:
        raise InputError(f"{shortened(template)} lacks the placeholder {{{unused[0]}}} of its attribute")
    if (count := math.prod(len(each.texts) for each in texts)) > MOST_PROMPTS:
        raise InputError(f"the values of {known} have {count:,} combinations; at most {MOST_PROMPTS:,} are taken")
    prompts = []
    for chosen in product(*(each.texts for each in texts)):
        put = dict(zip(names, chosen, strict=True))
        prompts.append("".join(before + ("" if name is None else put[name]) for before, name in parts))
    return PromptTable(tuple(each.attribute for each in texts), tuple(prompts))


def of_pair(text: str) -> PromptTable:
    """The prompts of one attribute, given whole; see `parse`."""
    found = parse(text)
    return PromptTable((found.attribute,), found.texts)


def read(file: str | os.PathLike) -> PromptTable:
    """The prompts of a file of TOML: a template, and the texts of its attributes.

        prompt = "a color photo of the face of a {age} {group}"
        group = ["man", "woman"]
        age = { young = "young", old = "80 years old" }

    A list has texts that name their values themselves; a table has the text of each value.

    Arguments:
        file: the file.

    Raises:
        InputError: the file is missing or no TOML, has no `prompt`, or something else than texts for an attribute; or as for
            `expand`.
    """
    with reading(file):
        template, texts = _opened(file)
        if not isinstance(template, str):
            raise InputError(f"`prompt` must be a text with placeholders {{NAME}} of attributes, got {shortened(template)}")
        return expand(template, texts)


def read_descriptions(file: str | os.PathLike) -> tuple[Descriptions, ...]:
    """How each value of the attributes of a file is described: by the prompts of all combinations that it is part of.

    Arguments:
        file: as for `read`, where `prompt` may also be a list of templates, each of which describes all values.

    Raises:
        InputError: as for `read`.
    """
    with reading(file):
        templates, texts = _opened(file)
        templates = [templates] if isinstance(templates, str) else templates
        if not isinstance(templates, list) or not templates or not _all_texts(templates):
            raise InputError(f"`prompt` must be a template, or a list of them, got {shortened(templates)}")
        return _descriptions([expand(template, texts) for template in templates])


def describe(text: str) -> Descriptions:
    """The descriptions of an attribute by one prompt for each value, as users write them on the command line; see `parse`."""
    return _descriptions([of_pair(text)])[0]


def _descriptions(tables: Sequence[PromptTable]) -> tuple[Descriptions, ...]:
    attributes = tables[0].attributes
    combinations = list(product(*(attribute.values for attribute in attributes)))
    return tuple(
        Descriptions(
            attribute,
            tuple(
                tuple(
                    prompt
                    for table in tables
                    for chosen, prompt in zip(combinations, table.prompts, strict=True)
                    if chosen[place] == value
                )
                for value in attribute.values
            ),
        )
        for place, attribute in enumerate(attributes)
    )


def _opened(file: str | os.PathLike) -> tuple[Any, list[Texts]]:
    """What a file has for `prompt`, and the texts of its attributes."""
    content = tomllib.loads(read_text(Path(file)))
    template = content.pop(PROMPT, None)
    return template, [of_toml(name, given) for name, given in content.items()]


def of_toml(name: str, given: Any) -> Texts:
    """The texts of an attribute, as files of TOML have them; see `read`.

    Arguments:
        name: the attribute's name.
        given: a list of texts, or a table of them by value.

    Raises:
        InputError: it is something else, the name is no name, or there are fewer than two texts or two are equal.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"the name of an attribute must be of letters, digits, _ and -, got {shortened(name)}")
    texts = dict(zip(given, given, strict=True)) if isinstance(given, list) and _all_texts(given) else given
    if not isinstance(texts, dict) or not _all_texts(texts.values()):
        raise InputError(f"attribute {name!r} must be a list of texts or a table of them by value, got {shortened(given)}")
    return _texts(name, texts, len(given))


def _all_texts(given: Any) -> bool:
    return all(isinstance(each, str) and each.strip() for each in given)


def _texts(name: str, texts: Mapping[str, str], count: int) -> Texts:
    """The texts by value, checked: as many as were given, and different."""
    if len(texts) < count:
        raise InputError(f"the values of attribute {name!r} must have different names, got {', '.join(texts)}")
    if count < 2:
        raise InputError(f"attribute {name!r} needs two values or more, got {count}")
    if len(set(texts.values())) < count:
        twice = next(text for text in texts.values() if list(texts.values()).count(text) > 1)
        raise InputError(f"two values of attribute {name!r} have the same text {shortened(twice)}")
    if wrong := next((value for value in texts if not value.strip() or set(value) & set("+,=|")), None):
        raise InputError(f"the name of a value must have none of + , = | in it, got {shortened(wrong)}: name it, as VALUE=TEXT")
    return Texts(Attribute(name, tuple(texts)), tuple(texts.values()))


def _own_words(name: str, texts: Sequence[str]) -> list[str]:
    """The words of each text between those that all texts begin and end with."""
    words = [text.split() for text in texts]
    start = len(os.path.commonprefix(words))
    after = len(os.path.commonprefix([each[start:][::-1] for each in words]))
    values = [" ".join(each[start : len(each) - after]).strip(_STOPS) for each in words]
    for value, text in zip(values, texts, strict=True):
        if not value:
            raise InputError(f"a text of attribute {name!r} has no words of its own, {shortened(text)}: name it, as VALUE=TEXT")
    return values


def pieces(template: str) -> list[tuple[str, str | None]]:
    """The texts of a template, each with the name of the placeholder that follows.

    Raises:
        InputError: a brace is alone, or a placeholder is no name.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InputError(f"{shortened(template)} has a brace alone; double one that is meant, as {{{{") from error
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or not _NAME.fullmatch(name)):
            raise InputError(f"a placeholder of a template is {{NAME}}, got {{{shortened(name)}}} in {shortened(template)}")
    return [(before, name) for before, name, *_ in parsed]
