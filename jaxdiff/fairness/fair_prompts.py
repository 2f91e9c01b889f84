"""Prompts under a fair table: labels, their prompts, and the label rows that are drawn."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Float32, Int, Int32

from jaxdiff.conditions.fair_table import FairTable, Mentions
from jaxdiff.conditions.templates import MOST_PROMPTS, PROMPT, PromptTable
from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError
from jaxdiff.fairness.assignment import assign
from jaxdiff.models.labels import NULL


@dataclass(frozen=True)
class FairPrompts:
    """Neutral prompts, and a fair table that says which values of which attributes their images are given.

    Labels are of the attribute `prompt`, whose values are the neutral prompts, and of the table's attributes that a concept in
    a prompt has. Of an attribute that a prompt's concept does not have the label is -1.

    Arguments:
        table: the table.
        prompts: the neutral prompts, different ones.

    Raises:
        InputError: no prompt has a concept, or there are too many combinations of prompts and values.
    """

    table: FairTable
    prompts: tuple[str, ...]

    def __post_init__(self):
        if not any(self.mentions):
            concepts = ", ".join(self.table.concepts)
            raise InputError(f"no prompt mentions a concept of the fair table with an open attribute; its concepts: {concepts}")
        if (count := len(self.prompts) * int(np.prod([len(each.values) + 1 for each in self.drawn]))) > MOST_PROMPTS:
            raise InputError(f"prompts and values have {count:,} combinations; at most {MOST_PROMPTS:,} are taken")

    @cached_property
    def mentions(self) -> tuple[Mentions | None, ...]:
        """The concept of each prompt, None for a prompt without."""
        return tuple(map(self.table.find, self.prompts))

    @cached_property
    def drawn(self) -> tuple[Attribute, ...]:
        """The attributes of which values are drawn, in the order of the table."""
        used = {name for each in self.mentions if each for name in each.attributes}
        return tuple(each.attribute for each in self.table.texts if each.attribute.name in used)

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes of the labels: the prompt, and those of which values are drawn."""
        return (Attribute(PROMPT, self.prompts), *self.drawn)

    def prompt_table(self) -> PromptTable:
        """The prompt of each combination of labels; of an attribute the value "none" comes last."""
        texts = []
        for prompt in self.prompts:
            for values in product(*((*each.values, None) for each in self.drawn)):
                named = zip(self.drawn, values, strict=True)
                texts.append(self.table.instruct(prompt, {each.name: value for each, value in named if value is not None}))
        return PromptTable(self.attributes, tuple(texts))

    @cached_property
    def rows(self) -> Int32[np.ndarray, "r a"]:
        """The different labels of images, those of the first prompt first."""
        rows = []
        for label, mentions in enumerate(self.mentions):
            left = () if mentions is None else mentions.attributes
            rows += [
                (label, *values)
                for values in product(*(range(len(each.values)) if each.name in left else (NULL,) for each in self.drawn))
            ]
        return np.array(rows, np.int32)

    @property
    def mixed(self) -> bool:
        """Whether some prompts have no concept."""
        return None in self.mentions

    def has_value(self, rows: Int[np.ndarray, " b"]) -> np.ndarray:
        """Whether images with the labels of these `rows` have a value, (B,)."""
        return (self.rows[rows, 1:] != NULL).any(1)

    def neutral(self) -> Int32[np.ndarray, "r a"]:
        """The labels of the neutral prompt of each of the `rows`."""
        neutral = np.full_like(self.rows, NULL)
        neutral[:, 0] = self.rows[:, 0]
        return neutral

    @property
    def values(self) -> tuple[tuple[str, str], ...]:
        """Every value that is drawn, as (attribute, value)."""
        return tuple((each.name, value) for each in self.drawn for value in each.values)

    def edit_prompts(self) -> tuple[str, ...]:
        """The prompt of each of `values` alone."""
        return tuple(self.table.edit_prompt(name, value) for name, value in self.values)

    def signs(self) -> Float32[np.ndarray, "r k"]:
        """For each of the `rows` the direction of each of `values`: 1 towards it, -1/(K - 1) away from the K - 1 others of its
        attribute, and 0 where the image has no value of the attribute."""
        signs = []
        for labels, attribute in zip(self.rows[:, 1:].T, self.drawn, strict=True):
            count = len(attribute.values)
            away = np.full((len(labels), count), -1 / (count - 1), np.float32)
            away[np.arange(len(labels)), labels] = 1
            signs.append(np.where((labels == NULL)[:, None], 0, away))
        return np.concatenate(signs, 1)

    def assign(self, count: int, *, seed: int, mode: str) -> Int[np.ndarray, " n"]:
        """The labels of `count` images, as positions in `rows`: prompts in turn, and values in the shares of the table.

        Image i has the prompt i mod P. Of the images of a prompt each attribute's values are assigned by themselves, so that
        the values of different attributes are independent.

        Arguments:
            count: images, at least 1.
            seed: of the values.
            mode: see `jaxdiff.fairness.assignment.assign`. With `iid` the value of image i does not depend on `count`.
        """
        position = {tuple(row): place for place, row in enumerate(self.rows.tolist())}
        labels = np.full((count, 1 + len(self.drawn)), NULL)
        labels[:, 0] = np.arange(count) % len(self.prompts)
        for prompt, mentions in enumerate(self.mentions[:count]):
            own = slice(prompt, None, len(self.prompts))
            for column, attribute in enumerate(self.drawn, 1):
                if mentions is not None and attribute.name in mentions.attributes:
                    shares = self.table.concepts[mentions.concept][attribute.name]
                    labels[own, column] = assign(len(labels[own]), shares, seed=(seed, prompt, column), mode=mode)
        return np.array([position[tuple(row)] for row in labels.tolist()])

    def shares(self) -> dict[str, dict[str, dict[str, float]]]:
        """The target shares by concept, attribute and value, of the concepts that are found; JSON-ready."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for mentions in filter(None, self.mentions):
            given = self.table.concepts[mentions.concept]
            found[mentions.concept] = {
                each.name: dict(zip(each.values, given[each.name], strict=True)) for each in self.drawn if each.name in given
            }
        return found
