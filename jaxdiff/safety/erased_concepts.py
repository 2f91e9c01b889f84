"""Text-to-image models from which concepts are erased: the edits of `jaxdiff.safety.erasing` for prompts."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxdiff.bounds import shortened
from jaxdiff.conditions import Prompts
from jaxdiff.errors import InputError
from jaxdiff.interop import text_to_image
from jaxdiff.model import Model
from jaxdiff.safety.erasing import Rows, rece, speed, text_kernels, uce

METHODS: Mapping[str, Callable] = MappingProxyType({"uce": uce, "rece": rece, "speed": speed})
"""The edits by name."""
INVARIANT_DIRECTIONS = 3
"""Directions of the empty prompt's columns that `speed` keeps exactly, beside its first column: as many as the paper's cluster
centres."""


class Change(NamedTuple):
    """How far the outputs of a prompt's columns moved, over all edited matrices, as shares of Euclidean norms.

    Attributes:
        prompt: the prompt.
        role: what it is in the edit. A prompt that is a target and preserved, too, is a target.
        moved: |(W' - W) c| / |W c| over all columns c of the prompt.
        before: of a concept, |W c - W c*| / |W c*| over its erased columns: how far they were from their targets.
        after: |W' c - W c*| / |W c*|: how far they are now.
    """

    prompt: str
    role: Literal["erased", "target", "preserved"]
    moved: float
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Erased:
    """What `erase` returns.

    Attributes:
        model: the edited model, whose `training` says what was erased.
        changes: of each concept, each target and each preserved prompt, once.
        size: |W' - W| / |W|, over all edited matrices.
    """

    model: Model
    changes: tuple[Change, ...]
    size: float


class Columns(NamedTuple):
    """Which columns of prompts an edit takes, in rows.

    Attributes:
        concepts: the erased columns (n, D).
        targets: for each the column whose outputs it gets (n, D).
        preserved: all different columns of the preserved prompts (m, D).
        counts: how many erased columns each concept has.
    """

    concepts: Rows
    targets: Rows
    preserved: Rows
    counts: tuple[int, ...]


def erase(
    model: Model,
    concepts: Sequence[str],
    *,
    towards: str | Sequence[str] = "",
    preserve: Sequence[str] = (),
    method: str = "uce",
    **options: float | int,
) -> Erased:
    """A text-to-image model whose cross attention has for some concepts the outputs of other prompts.

    Only the matrices of the keys and values of cross attention change; for the columns that an edit takes see `columns`. Apart
    from the prompts in `preserve`, the targets and the empty prompt are preserved: guidance evaluates the latter in every step,
    and an edit that only replaces a concept drags its target along. Without concepts, the weights are those of the model, bit
    for bit.

    Arguments:
        model: a text-to-image model.
        concepts: the prompts that are erased. Texts that the model was not trained on alone, such as a bare word where captions
            are sentences, have little to do with what it draws for a sentence that contains them.
        towards: for each concept the prompt whose outputs it gets, or one for all; by default the empty prompt.
        preserve: prompts whose outputs are to stay.
        method: `uce`, `rece` or `speed`, see `jaxdiff.safety.uce` and its neighbours.
        options: further arguments of the method, such as `regulariser`.

    Raises:
        InputError: the model is of another kind, see `columns`, there are not as many targets as concepts, the method is
            unknown or does not take an option, or a number is out of range.
    """
    if not isinstance(model.conditions, Prompts):
        raise InputError("`model` must be a text-to-image model, whose conditions are prompts")
    settings = _settings(method, options)
    towards = _targets(concepts, towards)
    kept = tuple(dict.fromkeys([*towards, "", *preserve]))
    conditions, weights = model.conditions, model.network.weights
    edited, changed, chosen = weights, model, None
    if concepts:
        chosen = columns(conditions, concepts, towards, kept)
        more = {"invariant": _invariant(conditions)} if method == "speed" else {}
        edited = METHODS[method](weights, chosen.concepts, chosen.targets, chosen.preserved, **settings, **more)
        told = {"method": method, "concepts": [*concepts], "towards": [*towards], "preserved": [*kept], **settings}
        network, training = replace(model.network, weights=edited), {"erased": told, "before": model.training}
        changed = text_to_image.fingerprinted(replace(model, network=network, training=training))
    before, after = (np.concatenate(list(text_kernels(each).values()), 1) for each in (weights, edited))
    changes = tuple(_changes(conditions, chosen, concepts, towards, kept, before, after))
    return Erased(changed, changes, _share(after - before, before))


def columns(conditions: Prompts, concepts: Sequence[str], towards: Sequence[str], preserve: Sequence[str]) -> Columns:
    """The columns of prompts that an edit takes.

    In a causal text encoder the state of a token depends on those before it alone: what a concept means as a whole is in the
    states of its last token and all after it, padding included. These are erased, each towards the state that is as far behind
    the last token of the target (the first one of the empty prompt). A column that a preserved prompt has, too, is no column of
    the concept: it is not erased. Equal columns of preserved prompts, such as those of the begin token, count once.

    Arguments:
        conditions: the condition encoder.
        concepts: prompts, at least one.
        towards: for each its target.
        preserve: the preserved prompts.

    Raises:
        InputError: a concept is empty, there twice, preserved, too, or has no column of its own.
    """
    if not all(concept.strip() for concept in concepts) or len(set(concepts)) < len(concepts):
        raise InputError(f"`concepts` must be different texts, none empty, got {shortened(list(concepts))}")
    states = _states(conditions, [*concepts, *towards, *preserve])
    same = {states[prompt].tobytes(): prompt for prompt in preserve}
    for concept in concepts:
        if (other := same.get(states[concept].tobytes())) is not None:
            raise InputError(f"{concept!r} cannot be erased and preserved: `towards` or `preserve` contains {other!r}")
    kept = {column.tobytes(): column for prompt in preserve for column in states[prompt]}
    erased, goals, counts = [], [], []
    for concept, target in zip(concepts, towards, strict=True):
        starts = _last_token(conditions, concept), _last_token(conditions, target)
        length = len(states[concept]) - max(starts)
        own, goal = (states[text][start : start + length] for text, start in zip((concept, target), starts, strict=True))
        free = np.array([column.tobytes() not in kept for column in own])
        if not free.any():
            raise InputError(f"{concept!r} has no column that is not one of a preserved prompt, too: nothing can be erased")
        erased.append(own[free])
        goals.append(goal[free])
        counts.append(int(free.sum()))
    rows = np.stack(list(kept.values())) if kept else np.empty((0, states[concepts[0]].shape[1]))
    return Columns(np.concatenate(erased), np.concatenate(goals), rows, tuple(counts))


def _settings(method: str, options: Mapping[str, float | int]) -> dict[str, float | int]:
    """All numbers of a method: those that are given, and its defaults."""
    if method not in METHODS:
        raise InputError(f"`method` must be one of {', '.join(METHODS)}, got {shortened(method)}")
    parameters = inspect.signature(METHODS[method]).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    if unknown := [name for name in options if name not in defaults]:
        raise InputError(f"`method` {method} takes {', '.join(defaults)}, got {', '.join(unknown)}")
    return defaults | dict(options)


def _targets(concepts: Sequence[str], towards: str | Sequence[str]) -> tuple[str, ...]:
    """The target of each concept."""
    given = (towards,) * len(concepts) if isinstance(towards, str) else tuple(towards)
    if len(given) == 1:
        given *= len(concepts)
    if len(given) != len(concepts):
        raise InputError(f"`towards` must be one prompt, or one for each of {len(concepts)} concepts, got {len(given)}")
    return given


def _states(conditions: Prompts, prompts: Sequence[str]) -> dict[str, Rows]:
    """The columns of prompts, by prompt, in float64; each prompt is encoded once."""
    different = list(dict.fromkeys(prompts))
    return dict(zip(different, np.asarray(conditions.encode_prompts(different)["text"], np.float64), strict=True))


def _last_token(conditions: Prompts, prompt: str) -> int:
    """The position of a prompt's last token; 0, the begin token, for the empty prompt."""
    return max(int(encoder.tokenizer([prompt]).ends[0]) for encoder in conditions.encoders) - 1


def _invariant(conditions: Prompts) -> Rows:
    """The columns that every image is drawn with: the begin token, and the main directions of the empty prompt's others."""
    (states,) = _states(conditions, [""]).values()
    directions = np.linalg.svd(states[1:], full_matrices=False)[2]
    return np.concatenate([states[:1], directions[:INVARIANT_DIRECTIONS]])


def _changes(
    conditions: Prompts,
    chosen: Columns | None,
    concepts: Sequence[str],
    towards: Sequence[str],
    kept: Sequence[str],
    before: Float[np.ndarray, "d o"],
    after: Float[np.ndarray, "d o"],
) -> Iterator[Change]:
    """The rows of `Erased.changes`."""
    states = _states(conditions, [*concepts, *kept])
    moved = {prompt: _share(each @ (after - before), each @ before) for prompt, each in states.items()}
    if chosen is not None:
        ends = np.cumsum(chosen.counts)[:-1]
        pairs = zip(np.split(chosen.concepts, ends), np.split(chosen.targets, ends), strict=True)
        for concept, (own, goal) in zip(concepts, pairs, strict=True):
            wanted = goal @ before
            yield Change(
                concept, "erased", moved[concept], _share(own @ before - wanted, wanted), _share(own @ after - wanted, wanted)
            )
    for prompt in kept:
        yield Change(prompt, "target" if prompt in towards else "preserved", moved[prompt])


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(np.linalg.norm(part) / np.linalg.norm(whole))
