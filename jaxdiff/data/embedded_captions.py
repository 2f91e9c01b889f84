"""Captions of the embedded faces, with occupations whose share of each group is known: the truth of fairness by prompt.

A caption names the person of an image, "a color photo of the face of a square firefighter", and then any of its other
attributes, each with probability 1/2 and in random order: "... with glasses, smiling, on a warm background". How many are named
is uniform, so that short prompts are as common as long ones. Whether a caption names the group, the occupation or an attribute
depends on nothing in the image: among the images whose caption is "... of a firefighter" a known share is square.

A tenth of captions is empty, for classifier-free guidance; a tenth leaves out "a color photo of the face of"; and a tenth has
the phrases alone, "with glasses, smiling", as prompts that are negative, unsafe or edit an image usually are.

The occupation is a label of image i, and a function of (seed, i, group) alone. An image has many captions, one for each
`variant`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Int, Int32

from jaxdiff.data.attributes import Attribute, find
from jaxdiff.data.embedded import ATTRIBUTES, uniform
from jaxdiff.errors import InputError

OCCUPATIONS: Mapping[str, float] = MappingProxyType(
    {"firefighter": 0.9, "engineer": 0.75, "doctor": 0.5, "teacher": 0.4, "nurse": 0.1}
)
"""P(group square | occupation), exactly, by occupation."""

OCCUPATION = Attribute("occupation", tuple(OCCUPATIONS))
"""The occupation of every face; its pixels show it only through the group."""

FREQUENCIES: Mapping[str, float] = MappingProxyType(
    {"firefighter": 0.2, "engineer": 0.16, "doctor": 0.19, "teacher": 0.2, "nurse": 0.25}
)
"""P(occupation). The shares of `OCCUPATIONS` have mean 1/2 under it, which is the share of square faces."""

PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hair": ("with short hair", "with long hair"),
        "beard": ("without a beard", "with a beard"),
        "glasses": ("without glasses", "with glasses"),
        "hair_color": ("with dark hair", "with light hair"),
        "lipstick": ("without lipstick", "with lipstick"),
        "smile": ("with a serious look", "smiling"),
        "background": ("on a cool background", "on a warm background"),
        "skin": ("with light skin", "with medium skin", "with dark skin"),
    }
)
"""How captions name each value of an attribute, in the order of its labels. The group is named before the person."""

_OCCUPATION_STREAM = 3_000
_CAPTION_STREAM = 4_000
_EMPTY, _SHORT, _PHRASES_ALONE = 0.1, 0.2, 0.3  # the upper end of each form; the rest is whole
_NAMES_OCCUPATION = 0.45
_NAMES_GROUP = {True: 0.25, False: 0.75}  # by whether an occupation is named
_NUMBERS = 4 + 2 * len(PHRASES)  # uniform numbers of a caption


def prompt(person: str = "person", group: str | None = None, phrases: Sequence[str] = ()) -> str:
    """A sentence as captions have it.

    Arguments:
        person: "person", or an occupation.
        group: the value of the group, or None to leave it open.
        phrases: values of `PHRASES`, in order.
    """
    described = _description(person, group, phrases)
    return f"a color photo of the face of {'an' if described[0] in 'aeiou' else 'a'} {described}"


def occupations(labels: Int[np.ndarray, "m a"], indices: Int[np.ndarray, " n"], *, seed: int = 0) -> Int32[np.ndarray, " n"]:
    """The occupations of images, as labels of `OCCUPATION`.

    Arguments:
        labels: of `jaxdiff.data.embedded`, a row for each index. The occupation depends on the group alone.
        indices: which images; each at least 0.
        seed: of the data set, 0 to 2**64 - 1.

    Raises:
        InputError: `labels` has not a row for each index, an index is negative, or the seed is out of range.
    """
    _check(labels, indices)
    group = labels[:, find(ATTRIBUTES, "group")]
    square = np.array(list(OCCUPATIONS.values()))
    # P(occupation | group) = P(group | occupation) P(occupation) / P(group), by Bayes' rule
    shares = np.array(list(FREQUENCIES.values())) * np.stack([square, 1 - square]) / 0.5
    edges = np.cumsum(shares, axis=1)[:, :-1]  # the last occupation takes the rest
    number = uniform(indices, _OCCUPATION_STREAM, seed)
    return (number[:, None] >= edges[group]).sum(axis=1).astype(np.int32)


def captions(labels: Int[np.ndarray, "m a"], indices: Int[np.ndarray, " n"], *, seed: int = 0, variant: int = 0) -> list[str]:
    """A caption of each image, a function of (seed, index, labels, variant) alone.

    Arguments:
        labels: of `jaxdiff.data.embedded`, a row for each index.
        indices: which images; each at least 0.
        seed: of the data set, 0 to 2**64 - 1.
        variant: which of an image's captions, at least 0.

    Raises:
        InputError: see `occupations`, or `variant` is negative.
    """
    if variant < 0:
        raise InputError(f"`variant` must be at least 0, got {variant}")
    persons = occupations(labels, indices, seed=seed)
    first = _CAPTION_STREAM + variant * _NUMBERS
    numbers = np.stack([uniform(indices, first + stream, seed) for stream in range(_NUMBERS)], axis=1)
    return [_caption(*row) for row in zip(labels, persons.tolist(), numbers, strict=True)]


def _caption(labels: np.ndarray, occupation: int, numbers: np.ndarray) -> str:
    form, person, group, share, *rest = numbers
    if form < _EMPTY:
        return ""
    # each phrase with probability `share`, which is uniform: 1/2 in all, and any number of phrases is equally likely
    chosen, order = np.array(rest).reshape(2, len(PHRASES))
    values = {attribute.name: label for attribute, label in zip(ATTRIBUTES, labels, strict=True)}
    of_values = [phrase[values[name]] for name, phrase in PHRASES.items()]
    phrases = [of_values[place] for place in np.argsort(order) if chosen[place] < share]
    if phrases and _SHORT <= form < _PHRASES_ALONE:
        return ", ".join(phrases)
    names_occupation = bool(person < _NAMES_OCCUPATION)
    return (_description if form < _PHRASES_ALONE else prompt)(
        OCCUPATION.values[occupation] if names_occupation else "person",
        ATTRIBUTES[0].values[values["group"]] if group < _NAMES_GROUP[names_occupation] else None,
        phrases,
    )


def _description(person: str, group: str | None, phrases: Sequence[str]) -> str:
    subject = f"{group} {person}" if group else person
    return f"{subject} {', '.join(phrases)}" if phrases else subject


def _check(labels: np.ndarray, indices: np.ndarray) -> None:
    if labels.shape != (len(indices), len(ATTRIBUTES)):
        raise InputError(
            f"`labels` must have a row for each of {len(indices)} indices and a column for each of {len(ATTRIBUTES)} "
            f"attributes, got shape {labels.shape}"
        )
