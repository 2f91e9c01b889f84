"""Prompts of a text-to-image model: from the options to the model that is sampled, whose labels stand for prompts."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxdiff import parallel
from jaxdiff._console.arguments import image_size
from jaxdiff._console.terminal import console
from jaxdiff.boundary import reading
from jaxdiff.conditions import Prompts, fair_table, prompt_file, templates
from jaxdiff.conditions.prompt_file import PromptFile
from jaxdiff.conditions.templates import PROMPT, PromptTable
from jaxdiff.errors import InputError
from jaxdiff.fairness.fair_prompts import FairPrompts
from jaxdiff.model import Model
from jaxdiff.spaces import Latents

from .options import Sampling
from .registry import flag

OPTIONS = ("prompt", "prompts", "negative", "size", "clip_skip", "tile")


class Prompted(NamedTuple):
    """A model with its prompts.

    Attributes:
        model: the model.
        attribute: the attribute to sample.
        fair: the prompts under a fair table; None without a table.
        seeds: the seed of each prompt, None for that of the run; None if all have that.
    """

    model: Model
    attribute: str | None
    fair: FairPrompts | None = None
    seeds: tuple[int | None, ...] | None = None


def prompted(path: Any, model: Model, attribute: str | None, sampling: Sampling, table: str | None = None) -> Prompted:
    """The model with the prompts and the image size of the options.

    Prints the end of each prompt that is too long, where prompts of a pair differ, the concepts that prompts mention, and what
    a missing guidance scale means.

    Arguments:
        path: the path of the model, for errors.
        model: the model.
        attribute: `--attribute`: the name of an attribute, names joined by +, or an attribute with its prompts.
        sampling: the other options.
        table: `--fair-table`.

    Raises:
        InputError: the model takes no prompts and some are given, a file is damaged, or options cannot be combined.
    """
    conditions, space = model.conditions, model.space
    if not isinstance(conditions, Prompts) or not isinstance(space, Latents):
        _require_none(path, attribute, sampling, table)
        return Prompted(model, attribute)
    size = image_size(sampling.size)
    if size is not None:
        space = space.sized(*size)
    if sampling.tile is not None:
        space = space.tiled(sampling.tile)
    conditions = replace(conditions, size=(space.height, space.width))
    if sampling.clip_skip:
        conditions = conditions.skipping(sampling.clip_skip)
    negatives = [sampling.negative, *(each.negative_prompt() for each in sampling.modifiers)]
    if negative := [each for each in negatives if each is not None]:
        conditions = conditions.with_negative(negative[0])
    given = [name for name in ("prompt", "prompts") if getattr(sampling, name) is not None]
    given += ["attribute"] if attribute is not None and ":" in attribute else []
    if len(given) > 1:
        raise InputError(f"{flag(given[0])} and {flag(given[1])} both give the prompts: use one of them")
    file = sampling.prompts
    if sampling.prompt is not None:
        found = PromptFile(PromptTable((), (sampling.prompt,)))
    elif given:
        read = (lambda: PromptFile(templates.of_pair(str(attribute)))) if file is None else lambda: prompt_file.read(file)
        found = parallel.run_on_all(read)
    else:
        raise InputError(
            f"the model at {path} is text-to-image: give a prompt with --prompt, prompts with --prompts FILE, or an attribute "
            'with its prompts: --attribute "group: a photo of a man | a photo of a woman"'
        )
    scales = _scales(found, sampling)
    fair = None if table is None else parallel.run_on_all(lambda: _fair(table, found.table, attribute))
    if fair is None:
        # a single prompt is that of all images
        attributes = found.table.attributes if len(found.table.prompts) > 1 else ()
        conditions = conditions.with_prompts(attributes, found.table.prompts, scales=scales)
    else:
        whole = fair.prompt_table()
        each = None if scales is None else np.repeat(scales, len(whole.prompts) // len(scales)).tolist()
        conditions = conditions.with_prompts(whole.attributes, whole.prompts, optional=len(fair.drawn), scales=each)
    if attribute is None or ":" in attribute:
        attribute = "+".join(each.name for each in conditions.attributes) or None
    _show(conditions, fair)
    if sampling.scale == 1:
        hint = "without --guidance-scale prompts are followed weakly, and --negative has no effect; Stable Diffusion takes 7.5"
        console.print(hint, highlight=False)
    return Prompted(replace(model, conditions=conditions, space=space), attribute, fair, found.seeds)


def _require_none(path: Any, attribute: str | None, sampling: Sampling, table: str | None) -> None:
    given = [name for name in OPTIONS if getattr(sampling, name) not in (None, 0)]
    given += ["attribute"] if attribute is not None and "|" in attribute else []
    given += ["fair_table"] if table is not None else []
    if given:
        raise InputError(f"{flag(given[0])} is for text-to-image models, and the model at {path} takes no prompts")


def _scales(found: PromptFile, sampling: Sampling) -> tuple[float, ...] | None:
    """The guidance scale of each prompt; None if all have that of the options."""
    if found.scales is None:
        return None
    guard = sampling.modifier("guard")
    if sampling.modifier("guidance") is None or (guard is not None and guard.takes_scale):
        raise InputError(
            f"the column `guidance` of {sampling.prompts} has scales of classifier-free guidance: also give --guidance-scale, "
            "which prompts without one take, and no --anchor unconditional"
        )
    return tuple(sampling.scale if own is None else own for own in found.scales)


def _fair(name: str, table: PromptTable, attribute: str | None) -> FairPrompts:
    """The prompts under a fair table."""
    if attribute is not None or any(each.name != PROMPT for each in table.attributes):
        raise InputError("--fair-table draws values for neutral prompts: give --prompt, or --prompts with one on each line")
    fair_table.require_known(name, "--fair-table")
    with reading(name):
        return FairPrompts(fair_table.load(name), table.prompts)


def _show(conditions: Prompts, fair: FairPrompts | None) -> None:
    """Prints what prompts lose, and where the two prompts of a pair differ, or which concepts prompts mention."""
    prompts = [*conditions.prompts, *([conditions.negative] if conditions.negative else [])]
    for prompt, end in conditions.cut(prompts).items():
        console.print(
            f"the prompt {prompt!r} is too long: the model does not see its end, {end!r}", highlight=False, markup=False
        )
    if fair is not None:
        _show_concepts(fair)
    elif len(conditions.prompts) == 2:
        differ = conditions.encoders[0].tokenizer.difference(*conditions.prompts)
        first, second = (" ".join(each) or "nothing" for each in (differ.first, differ.second))
        count = max(len(differ.first), len(differ.second))
        console.print(
            f"the prompts differ in {count} token{'s' * (count != 1)}: {first!r} and {second!r}",
            highlight=False,
            markup=False,
        )


def _show_concepts(fair: FairPrompts) -> None:
    """Prints how many prompts are given values, and those that mention several concepts."""
    shares = fair.shares()
    values = ", ".join(f"{name} ({', '.join(own)})" for name, own in shares.items())
    count = sum(each is not None for each in fair.mentions)
    console.print(f"{count} of {len(fair.prompts)} prompts are given values: {values}", highlight=False, markup=False)
    for prompt, mentions in zip(fair.prompts, fair.mentions, strict=True):
        if mentions is not None and mentions.others:
            others = ", ".join(mentions.others)
            line = f"{prompt!r} mentions {mentions.concept} first, and is given its values; not those of {others}"
            console.print(line, highlight=False, markup=False)
