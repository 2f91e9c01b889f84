"""Prompts of a text-to-image model: from the options to the model that is sampled, whose labels stand for prompts."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxdiff import parallel
from jaxdiff._console.arguments import image_size
from jaxdiff._console.terminal import console
from jaxdiff.boundary import read_text, reading
from jaxdiff.bounds import shortened
from jaxdiff.conditions import Prompts, templates
from jaxdiff.conditions.templates import PromptTable
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.spaces import Latents

from .options import Sampling
from .registry import flag

OPTIONS = ("prompt", "prompts", "negative", "size", "clip_skip", "tile")
COLUMN = "prompt"
"""The column of a CSV file, and the attribute of the prompts of a file."""


def prompted(path: Any, model: Model, attribute: str | None, sampling: Sampling) -> tuple[Model, str | None]:
    """The model with the prompts and the image size of the options, and the attribute to sample.

    Prints the end of each prompt that is too long, where prompts of a pair differ, and what a missing guidance scale means.

    Arguments:
        path: the path of the model, for errors.
        model: the model.
        attribute: `--attribute`: the name of an attribute, names joined by +, or an attribute with its prompts.
        sampling: the other options.

    Raises:
        InputError: the model takes no prompts and some are given, a file is damaged, or options cannot be combined.
    """
    conditions, space = model.conditions, model.space
    if not isinstance(conditions, Prompts) or not isinstance(space, Latents):
        _require_none(path, attribute, sampling)
        return model, attribute
    size = image_size(sampling.size)
    if size is not None:
        space = space.sized(*size)
    if sampling.tile is not None:
        space = space.tiled(sampling.tile)
    conditions = replace(conditions, size=(space.height, space.width))
    if sampling.clip_skip:
        conditions = conditions.skipping(sampling.clip_skip)
    if sampling.negative is not None:
        conditions = conditions.with_negative(sampling.negative)
    given = [name for name in ("prompt", "prompts") if getattr(sampling, name) is not None]
    given += ["attribute"] if attribute is not None and ":" in attribute else []
    if len(given) > 1:
        raise InputError(f"{flag(given[0])} and {flag(given[1])} both give the prompts: use one of them")
    if sampling.prompt is not None:
        conditions = conditions.with_prompts((), (sampling.prompt,))
    elif given:
        file = sampling.prompts
        table = templates.of_pair(str(attribute)) if file is None else parallel.run_on_all(lambda: _table(file))
        # a single prompt is that of all images
        conditions = conditions.with_prompts(table.attributes if len(table.prompts) > 1 else (), table.prompts)
        if attribute is None or ":" in attribute:
            attribute = "+".join(each.name for each in conditions.attributes) or None
    else:
        raise InputError(
            f"the model at {path} is text-to-image: give a prompt with --prompt, prompts with --prompts FILE, or an attribute "
            'with its prompts: --attribute "group: a photo of a man | a photo of a woman"'
        )
    _show(conditions)
    if sampling.scale == 1:
        hint = "without --guidance-scale prompts are followed weakly, and --negative has no effect; Stable Diffusion takes 7.5"
        console.print(hint, highlight=False)
    return replace(model, conditions=conditions, space=space), attribute


def _require_none(path: Any, attribute: str | None, sampling: Sampling) -> None:
    given = [name for name in OPTIONS if getattr(sampling, name) not in (None, 0)]
    given += ["attribute"] if attribute is not None and "|" in attribute else []
    if given:
        raise InputError(f"{flag(given[0])} is for text-to-image models, and the model at {path} takes no prompts")


def _table(file: Path) -> PromptTable:
    """The prompts of a file: TOML with a template, CSV with a column of prompts, or text with one prompt on each line."""
    if file.suffix.lower() == ".toml":
        return templates.read(file)
    with reading(file):
        text = read_text(file)
        lines = _column(text) if file.suffix.lower() == ".csv" else text.splitlines()
        prompts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if not prompts:
            raise InputError(f"{file} has no prompt; it takes one on each line")
        if len(prompts) > templates.MOST_PROMPTS:
            raise InputError(f"{file} has {len(prompts):,} prompts; at most {templates.MOST_PROMPTS:,} are taken")
        return PromptTable((Attribute(COLUMN, prompts),), prompts)


def _column(text: str) -> list[str]:
    """The prompts of a table."""
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if COLUMN not in (rows.fieldnames or ()):
        raise InputError(
            f"a CSV file of prompts needs a column {COLUMN}; its columns: {shortened(list(rows.fieldnames or ()))}"
        )
    return [row[COLUMN] or "" for row in rows]


def _show(conditions: Prompts) -> None:
    """Prints what prompts lose, and where the two prompts of a pair differ."""
    prompts = [*conditions.prompts, *([conditions.negative] if conditions.negative else [])]
    for prompt, end in conditions.cut(prompts).items():
        console.print(
            f"the prompt {prompt!r} is too long: the model does not see its end, {end!r}", highlight=False, markup=False
        )
    if len(conditions.prompts) == 2:
        differ = conditions.encoders[0].tokenizer.difference(*conditions.prompts)
        first, second = (" ".join(each) or "nothing" for each in (differ.first, differ.second))
        count = max(len(differ.first), len(differ.second))
        console.print(
            f"the prompts differ in {count} token{'s' * (count != 1)}: {first!r} and {second!r}",
            highlight=False,
            markup=False,
        )
