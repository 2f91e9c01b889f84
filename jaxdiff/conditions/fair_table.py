"""The lookup table of Fair Diffusion (Friedrich et al. 2023): which attributes of a concept are drawn, and in which shares."""

import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxdiff.boundary import read_text, reading
from jaxdiff.bounds import shortened
from jaxdiff.conditions import templates
from jaxdiff.conditions.templates import PROMPT, Texts
from jaxdiff.errors import InputError

EQUAL = "equal"
"""Equal shares, as tables write them."""
CONCEPT = "concept"
"""The placeholder of the concept."""
SHIPPED = Path(__file__).parent / "fair_tables"
"""The folder of the tables that are part of the package."""
NEUTRAL = "neutral"
"""The placeholder of the word for anyone, with a value."""
_KEYS = ("instruction", "neutral", "edit", "attributes", "concepts")
_WORDS = re.compile(r"\w+(?:[ '-]\w+)*")
_ARTICLE = re.compile(r"(?<![\w-])(an?)(\s+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Mentions:
    """Where a prompt mentions its concept.

    Attributes:
        concept: the name of the concept in the table.
        spans: start and end of each mention in the prompt.
        others: other concepts of the table that the prompt mentions.
        attributes: the attributes of the concept that the prompt leaves open.
    """

    concept: str
    spans: tuple[tuple[int, int], ...]
    others: tuple[str, ...]
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class FairTable:
    """Concepts, and the shares in which values of their attributes are wanted.

    A concept is found in a prompt where its words stand as whole words, in any case, in the singular or the plural (-s, -es,
    -ies, and -men of -man); a hyphen is part of a word. Of concepts that begin at the same place the longest counts, and what
    stands inside of it is no mention. The concept of a prompt is the first that it mentions; others stay as they are. An
    attribute of which the prompt names a value itself, as whole words anywhere, is left alone.

    Attributes:
        texts: the attributes, with the text of each value.
        concepts: for each concept the shares of the values by attribute, in the order of the values.
        instruction: what takes the place of a concept: a template with the placeholders `{concept}`, for the concept as it was
            written, and one for each attribute. That of an attribute that is not drawn is empty.
        neutral: a word for anyone, which has the place of the concept in edit prompts.
        edit: the edit prompt of a value in fair guidance: a template with the placeholder `{neutral}`, for the instruction with
            the word for anyone and this value.

    Raises:
        InputError: there are no attributes or concepts; a concept is no words, is there twice or has no attribute; an attribute
            is unknown; shares are not one for each value, negative, or do not sum to one; or a placeholder is missing, unknown
            or there twice.
    """

    texts: tuple[Texts, ...]
    concepts: Mapping[str, Mapping[str, tuple[float, ...]]]
    instruction: str
    neutral: str = "person"
    edit: str = f"{{{NEUTRAL}}}"

    def __post_init__(self):
        names = [each.attribute.name for each in self.texts]
        if not names or not self.concepts:
            raise InputError(
                f"a fair table needs one attribute and one concept at least, got {len(names)} and {len(self.concepts)}"
            )
        _check_instruction(self.instruction, names)
        if [name for _, name in templates.pieces(self.edit) if name] != [NEUTRAL]:
            raise InputError(f"`edit` must have the placeholder {{{NEUTRAL}}} once, got {shortened(self.edit)}")
        if not self.neutral.strip():
            raise InputError("`neutral` must be a word for anyone, such as person, got an empty text")
        folded: dict[str, str] = {}
        for concept, shares in self.concepts.items():
            if not _WORDS.fullmatch(concept):
                raise InputError(f"a concept must be one or more words, got {shortened(concept)}")
            if (other := folded.setdefault(concept.lower(), concept)) != concept:
                raise InputError(f"the concepts {other!r} and {concept!r} differ in case alone")
            if not shares:
                raise InputError(f"concept {concept!r} has no attribute; the attributes are {', '.join(names)}")
            for name, given in shares.items():
                _check_shares(concept, name, given, self._texts_of(name, f"concept {concept!r}"))

    def find(self, prompt: str) -> Mentions | None:
        """The concept of a prompt; None if it mentions none, or names a value of all its attributes itself."""
        matches = list(self._pattern.finditer(prompt))
        found = [(self._forms[match.groups().index(match[0])][1], match.span()) for match in matches]
        if not found:
            return None
        concept = found[0][0]
        left = tuple(name for name in self.concepts[concept] if not self._names_value(prompt, name))
        others = tuple(dict.fromkeys(name for name, _ in found if name != concept))
        return Mentions(concept, tuple(span for name, span in found if name == concept), others, left) if left else None

    def instruct(self, prompt: str, values: Mapping[str, str]) -> str:
        """The prompt with values put where it mentions its concept: Fair Diffusion's fair instruction.

        An article "a" or "an" before the mention becomes that of the first word that is put there: "an" before the letters
        a, e, i, o and u.

        Arguments:
            prompt: the prompt. One without a concept is returned as it is.
            values: a value for attributes that the prompt leaves open, by attribute; others have no effect.

        Raises:
            InputError: an attribute or a value is unknown.
        """
        chosen = {name: self._texts_of(name, "`values`").text_of(value) for name, value in values.items()}
        mentions = self.find(prompt)
        if mentions is None:
            return prompt
        put, done, end = {name: text for name, text in chosen.items() if name in mentions.attributes}, "", 0
        for start, stop in mentions.spans:
            done += prompt[end:start]
            phrase, end = self._filled({**put, CONCEPT: prompt[start:stop]}), stop
            # the article of an unchanged first word stays as it is
            changed = phrase.split()[0] != prompt[start:stop].split()[0]
            done = (_with_article(done, phrase) if changed else done) + phrase
        return done + prompt[end:]

    def edit_prompt(self, name: str, value: str) -> str:
        """The edit prompt of a value.

        Raises:
            InputError: the attribute or the value is unknown.
        """
        phrase = self._filled({name: self._texts_of(name, "`name`").text_of(value), CONCEPT: self.neutral})
        done = ""
        for before, placeholder in templates.pieces(self.edit):
            done += before
            if placeholder:
                done = _with_article(done, phrase) + phrase
        return done

    def _texts_of(self, name: str, what: str) -> Texts:
        for each in self.texts:
            if each.attribute.name == name:
                return each
        known = ", ".join(each.attribute.name for each in self.texts)
        raise InputError(f"{what} has the attribute {shortened(name)}; the attributes of the fair table are {known}")

    def _names_value(self, prompt: str, name: str) -> bool:
        """Whether a prompt has the text of a value in it."""
        texts = "|".join(_spaced(text) for text in self._texts_of(name, "a concept").texts)
        return re.search(rf"(?<![\w-])(?:{texts})(?![\w-])", prompt, re.IGNORECASE) is not None

    def _filled(self, texts: Mapping[str, str]) -> str:
        """The instruction with these texts, and nothing for other placeholders."""
        pieces = templates.pieces(self.instruction)
        return " ".join("".join(before + (texts.get(name, "") if name else "") for before, name in pieces).split())

    @cached_property
    def _forms(self) -> list[tuple[str, str]]:
        """Each singular and plural with its concept, the longest first; a concept's own name is stronger than a plural."""
        plurals = {form: concept for concept in self.concepts for form in _plurals(concept.lower())}
        forms = plurals | {concept.lower(): concept for concept in self.concepts}
        return sorted(forms.items(), key=lambda each: len(each[0]), reverse=True)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """A group for each of `_forms`."""
        forms = "|".join(f"({_spaced(form)})" for form, _ in self._forms)
        return re.compile(rf"(?<![\w-])(?:{forms})(?![\w-])", re.IGNORECASE)


def read(file: str | os.PathLike) -> FairTable:
    """The table of a file of TOML.

        instruction = "{group} {concept}"
        neutral = "person"
        edit = "a photo of a {neutral}"

        [attributes]
        group = ["male", "female"]

        [concepts]
        doctor = { group = "equal" }
        "police officer" = { group = { male = 0.6, female = 0.4 } }

    The values of an attribute are a list of texts, or a table of them by value. Shares are given for every value, or are
    `equal`. Without `instruction` the attributes stand before the concept, in their order, and without `edit` the edit prompt
    of a value is "male person".

    Arguments:
        file: the file.

    Raises:
        InputError: the file is missing, is no TOML, has other keys or other types, or see `FairTable`.
    """
    file = Path(file)
    with reading(file):
        content = tomllib.loads(read_text(file))
        if unknown := [key for key in content if key not in _KEYS]:
            raise InputError(f"a fair table has the keys {', '.join(_KEYS)}, got {shortened(unknown[0])}")
        attributes, concepts = (_table(content, key) for key in ("attributes", "concepts"))
        texts = tuple(templates.of_toml(name, given) for name, given in attributes.items())
        before = " ".join(f"{{{each.attribute.name}}}" for each in texts)
        given_texts = {key: content[key] for key in ("instruction", "neutral", "edit") if key in content}
        for key, given in given_texts.items():
            if not isinstance(given, str):
                raise InputError(f"`{key}` must be a text, got {shortened(given)}")
        sizes = {each.attribute.name: each.attribute.values for each in texts}
        found = {}
        for concept in concepts:
            shares = _table(concepts, concept)
            found[concept] = {name: _shares(concept, name, given, sizes.get(name, ())) for name, given in shares.items()}
        return FairTable(texts, found, **{"instruction": f"{before} {{{CONCEPT}}}", **given_texts})


def shipped() -> tuple[str, ...]:
    """The names of the tables that are part of the package."""
    return tuple(sorted(file.stem for file in SHIPPED.glob("*.toml")))


def require_known(name: str, option: str) -> None:
    """Raises `InputError` for what `load` cannot open: neither a table of the package nor a file.

    Arguments:
        name: what was given.
        option: what it was given as, for the error.
    """
    if name not in shipped() and not Path(name).is_file():
        raise InputError(f"{option} must be a file, or one of {', '.join(shipped())}; got {name}")


def load(name: str | os.PathLike) -> FairTable:
    """A table that is part of the package, by name, or else that of a file; see `read`."""
    return read(SHIPPED / f"{name}.toml" if name in shipped() else name)


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    given = content.get(key, {})
    if not isinstance(given, dict):
        raise InputError(f"`{key}` must be a table, got {shortened(given)}")
    return given


def _shares(concept: str, name: str, given: Any, values: Sequence[str]) -> tuple[float, ...]:
    """The shares of an attribute's values; an unknown attribute, of which no value is known, is left to `FairTable`."""
    if given == EQUAL or not values:
        return (1 / len(values),) * len(values) if values else ()
    if not isinstance(given, dict):
        raise InputError(f"the shares of {name!r} of concept {concept!r} must be {EQUAL!r} or a table, got {shortened(given)}")
    if unknown := [value for value in given if value not in values]:
        raise InputError(
            f"concept {concept!r} has a share for {shortened(unknown[0])}; attribute {name!r} takes {', '.join(values)}"
        )
    if missing := [value for value in values if value not in given]:
        raise InputError(f"concept {concept!r} has no share for {missing[0]!r} of attribute {name!r}")
    for value, share in given.items():
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise InputError(f"the share of {value!r} of concept {concept!r} must be a number, got {shortened(share)}")
    return tuple(float(given[value]) for value in values)


def _check_shares(concept: str, name: str, shares: Sequence[float], texts: Texts) -> None:
    if len(shares) != len(texts.attribute.values):
        count = len(texts.attribute.values)
        raise InputError(f"concept {concept!r} has {len(shares)} shares for the {count} values of attribute {name!r}")
    if not all(0 <= share <= 1 for share in shares) or abs(math.fsum(shares) - 1) > 1e-6:
        listed = ", ".join(f"{value} {share:g}" for value, share in zip(texts.attribute.values, shares, strict=True))
        raise InputError(f"the shares of {name!r} of concept {concept!r} must lie in [0, 1] and sum to one, got {listed}")


def _check_instruction(instruction: str, attributes: Sequence[str]) -> None:
    if {CONCEPT, PROMPT} & set(attributes) or len(set(attributes)) < len(attributes):
        raise InputError(f"attributes must have different names, not {CONCEPT} or {PROMPT}, got {', '.join(attributes)}")
    used = [name for _, name in templates.pieces(instruction) if name is not None]
    if sorted(used) != sorted([*attributes, CONCEPT]):
        wanted = ", ".join(f"{{{name}}}" for name in (*attributes, CONCEPT))
        raise InputError(f"`instruction` must have each of the placeholders {wanted} once, got {shortened(instruction)}")


def _plurals(concept: str) -> list[str]:
    """Regular plurals of a concept, by its last word."""
    forms = [f"{concept}s", f"{concept}es"]
    if concept.endswith("y"):
        forms.append(f"{concept[:-1]}ies")
    if concept.endswith("man"):
        forms.append(f"{concept[:-3]}men")
    return forms


def _with_article(before: str, phrase: str) -> str:
    """A text before a phrase, with its article "a" or "an" at the end as the phrase's first letter asks for."""
    return _ARTICLE.sub(lambda found: found[1][0] + "n" * (phrase[0] in "aeiouAEIOU") + found[2], before)


def _spaced(text: str) -> str:
    """A pattern of words with any space between."""
    return r"\s+".join(map(re.escape, text.split()))
