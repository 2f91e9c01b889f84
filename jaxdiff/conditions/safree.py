"""SAFREE's filter of prompts (Yoon et al., ICLR 2025, arXiv 2410.12761): tokens near unsafe concepts are moved away from them.

All vectors are states of one text encoder: `c_k` the state of concept phrase k at its end token, `e_i` that of the prompt with
token i replaced, `p_i` the hidden state of token i. With the projection P(V) = V (V'V)^+ V' onto the span of columns V,

    d_i = |(1 - P(C)) e_i|,    token i is masked where d_i >= (1 + threshold) mean of the other d_j,

since without such a token the prompt is farther from the concepts. The filtered prompt has (1 - P(C)) P(E) p_i in place of a
masked p_i, and all other states as they are. How long it is used depends on how far the prompt is moved,

    b = 1 - mean over its tokens of cos(p_i, (1 - P(C)) P(E) p_i),    t' = round(n sigmoid(2 slope (10 b - midpoint))):

the steps 0 .. t' of 50 use the filtered prompt, and the others the original one. This is attribute switching
(`jaxdiff.guidance.switching`) from the one to the other, at the time that `transition` gives:

    found = safree.filter_prompts(model.conditions, [prompt], ["a beard"])
    at = safree.transition(found.last, solver.times(model.process))
    original = model.conditions.encode_prompts([prompt])
    jd.sample(jd.guidance.switching(denoise, at), ..., condition=({**original, "text": found.text}, original))

Of two text encoders (Stable Diffusion XL) only the second is filtered, as in the authors' code: c_k and e_i are its projected
states at the end token, and p_i its hidden states, which are those of an earlier layer, without the norm. The first encoder's
part of `text`, and `pooled`, stay. (There the authors filter a given range of steps, by default all, in place of 0 .. t'.)

The end token's state says what a prompt means only in a text encoder that was trained contrastively against images, as CLIP
was; with another the filter has no reason to hit the concept. The re-attention in the network's skip connections is left out:
the authors' released code calls it with settings under which it does not filter.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from jaxdiff.bounds import Bounds, shortened
from jaxdiff.conditions.text import Prompts
from jaxdiff.conditions.tokenizer import Tokenizer
from jaxdiff.defaults import SAFREE_MIDPOINT, SAFREE_SHARE, SAFREE_SLOPE, SAFREE_THRESHOLD
from jaxdiff.errors import InputError

STEPS = 50
"""The steps in which t' is counted, those of the published sampler."""
MASK = 0
"""The token that replaces a token of the prompt, "!" in CLIP's vocabulary."""
_LEAST = 1e-6
"""Singular values below this part of the largest are rounding of the float32 states."""
_SMALL = 1e-8
"""The product of lengths below which PyTorch's cosine is smaller than the true one, too."""

EndStates = Callable[[Int[np.ndarray, "n l"], Int[np.ndarray, " n"]], Float[np.ndarray, "n d"]]
"""The states of tokens at their end tokens."""


class Filtered(NamedTuple):
    """The filtered forms of N prompts.

    Attributes:
        text: hidden states (N, L, D), float32; those of tokens that are not masked are the encoder's, bit for bit.
        masked: which tokens are masked, (N, L); never the begin token, the end token or padding.
        moved: b, how far the prompt is moved, 0 where nothing is masked, (N,).
        last: t', the last of 50 steps with the filtered prompt, -1 where no token is masked, (N,).
    """

    text: Float[np.ndarray, "n l d"]
    masked: Bool[np.ndarray, "n l"]
    moved: Float[np.ndarray, " n"]
    last: Int[np.ndarray, " n"]


def projection(vectors: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "d d"]:
    """V (V'V)^+ V' for columns V, here given as K rows: the projection onto their span, float64. 0 without vectors."""
    _, sizes, directions = np.linalg.svd(np.asarray(vectors, np.float64), full_matrices=False)
    basis = directions[sizes > _LEAST * sizes.max(initial=0.0)]
    return basis.T @ basis


def variants(ids: Int[np.ndarray, " l"], end: int) -> Int[np.ndarray, "n l"]:
    """The tokens of a prompt with each token before the end token replaced in turn by `MASK`, the begin token apart."""
    count = end - 1
    rows = np.tile(ids, (count, 1))
    rows[np.arange(count), np.arange(count) + 1] = MASK
    return rows


def masked_tokens(
    states: Float[np.ndarray, "n d"], concepts: Float[np.ndarray, "d d"], threshold: float = SAFREE_THRESHOLD
) -> Bool[np.ndarray, " n"]:
    """Which tokens are masked: d_i >= (1 + threshold) mean of the other d_j. A single token, which has no others, is masked.

    Arguments:
        states: e_i, the state of each variant of the prompt.
        concepts: P(C).
        threshold: the part by which d_i must exceed the mean.
    """
    rows = np.asarray(states, np.float64)
    distances = np.linalg.norm(rows - rows @ concepts, axis=1)
    if len(rows) < 2:
        return np.ones(len(rows), bool)
    return distances >= (1 + threshold) * (distances.sum() - distances) / (len(rows) - 1)


def projected(
    hidden: Float[np.ndarray, "l d"], prompt: Float[np.ndarray, "d d"], concepts: Float[np.ndarray, "d d"]
) -> Float[np.ndarray, "l d"]:
    """(1 - P(C)) P(E) p_i of each hidden state p_i, float64."""
    inside = np.asarray(hidden, np.float64) @ prompt
    return inside - inside @ concepts


def distance(hidden: Float[np.ndarray, "l d"], moved: Float[np.ndarray, "l d"]) -> float:
    """b = 1 - mean of cos(p_i, moved p_i), in [0, 2]; the cosine with a vector of length 0, up to rounding, is 0."""
    states = np.asarray(hidden, np.float64)
    lengths = np.linalg.norm(states, axis=1) * np.linalg.norm(moved, axis=1)
    products = np.sum(states * moved, axis=1)
    return 1.0 - float(np.mean(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > _SMALL)))


def last_step(moved: float, slope: float = SAFREE_SLOPE, midpoint: float = SAFREE_MIDPOINT, share: float = SAFREE_SHARE) -> int:
    """t' = round(n sigmoid(2 slope (10 b - midpoint))) with n = 50 share, increasing in b = `moved`."""
    return round(STEPS * share * float(expit(2 * slope * (10 * moved - midpoint))))


def transition(last: Int[np.ndarray, " n"], nodes: Float[Any, " s"]) -> Float[np.ndarray, " n"]:
    """The time from which on a prompt is used as it is: at the part (t' + 1) / 50 of a solver's steps, (N,) in [0, 1].

    With 50 steps it is node t' + 1. With another number it may lie between two nodes, where their times are interpolated, and
    the solver moves its nearest node there.

    Arguments:
        last: t', see `Filtered`; -1 gives 1, so that the prompt is never filtered.
        nodes: the solver's nodes, `solver.times(process)`.
    """
    times = np.asarray(nodes, np.float64)
    place = (np.asarray(last) + 1) * (len(times) - 1) / STEPS
    return np.where(np.asarray(last) < 0, 1.0, np.interp(place, np.arange(len(times)), times)).astype(np.float32)


def filter_prompts(
    conditions: Prompts,
    prompts: Sequence[str],
    concepts: Sequence[str],
    *,
    threshold: float = SAFREE_THRESHOLD,
    slope: float = SAFREE_SLOPE,
    midpoint: float = SAFREE_MIDPOINT,
    share: float = SAFREE_SHARE,
) -> Filtered:
    """The filtered forms of prompts.

    The defaults are the authors' for nudity; for artists' styles they use slope 3.5 and midpoint 5.5. A prompt of n tokens is
    encoded n + 1 times.

    Arguments:
        conditions: the prompts' encoder.
        prompts: the prompts.
        concepts: phrases of the unsafe concepts; without one nothing is masked.
        threshold: at least 0; larger masks fewer tokens.
        slope, midpoint: of t' as a function of 10 b; the slope is above 0.
        share: the largest part of the steps with the filtered prompt, but for one step of 50; in (0, 1].

    Raises:
        InputError: the states of the encoder do not fit one another, a number is out of range, or a text is none.
    """
    bounds = {"threshold": Bounds(least=0), "slope": Bounds(above=0), "midpoint": Bounds(), "share": Bounds(above=0, most=1)}
    for (name, allowed), value in zip(bounds.items(), (threshold, slope, midpoint, share), strict=True):
        if fault := allowed.fault(value):
            raise InputError(f"`{name}` must {fault}, got {value}")
    if isinstance(prompts, str) or not prompts:
        raise InputError(f"`prompts` must be a list of one or more, got {shortened(prompts)}")
    if isinstance(concepts, str):
        raise InputError(f"`concepts` must be a list, got {shortened(concepts)}")
    end_states, different = _end_states(conditions), list(dict.fromkeys(prompts))
    tokens = conditions.encoders[-1].tokenizer(different)
    texts = np.asarray(conditions.encode_prompts(different)["text"])
    subspace = projection(_phrases(conditions.encoders[-1].tokenizer, end_states, concepts)) if concepts else None
    width, found = conditions.encoders[-1].config.width, {}
    for prompt, whole, ids, end in zip(different, texts, tokens.ids, tokens.ends.tolist(), strict=True):
        states, masked, moved = _filtered(end_states, whole[:, -width:], ids, end, subspace, threshold)
        text = np.concatenate([whole[:, :-width], states], -1)
        found[prompt] = text, masked, moved, last_step(moved, slope, midpoint, share) if masked.any() else -1
    return Filtered(*map(np.array, zip(*(found[prompt] for prompt in prompts), strict=True)))


def _filtered(
    end_states: EndStates,
    states: Float[np.ndarray, "l d"],
    ids: Int[np.ndarray, " l"],
    end: int,
    subspace: Float[np.ndarray, "d d"] | None,
    threshold: float,
) -> tuple[Float[np.ndarray, "l d"], Bool[np.ndarray, " l"], float]:
    """Of one prompt the filtered states, which tokens are masked, and b."""
    masked = np.zeros(len(ids), bool)
    if subspace is None or end < 2:
        return states, masked, 0.0
    rows = variants(ids, end)
    others = end_states(rows, np.full(len(rows), end, np.int32))
    masked[1:end] = masked_tokens(others, subspace, threshold)
    if not masked.any():
        return states, masked, 0.0
    moved = projected(states, projection(others), subspace)
    return np.where(masked[:, None], moved.astype(np.float32), states), masked, distance(states[: end + 1], moved[: end + 1])


def _phrases(tokenizer: Tokenizer, end_states: EndStates, concepts: Sequence[str]) -> Float[np.ndarray, "k d"]:
    tokens = tokenizer(concepts)
    return end_states(tokens.ids, tokens.ends)


def _end_states(conditions: Prompts) -> EndStates:
    """The states c_k and e_i of the last text encoder. Raises `InputError` where its hidden states p_i are of another kind."""
    encoder = conditions.encoders[-1]
    if len(conditions.encoders) == 1:
        if not encoder.normalised:
            raise InputError(
                "SAFREE projects the hidden states of a prompt onto states at its end token, which are normalised; the hidden "
                "states of this text encoder are not"
            )
        return encoder.end_states
    if encoder.config.projection != encoder.config.width:
        raise InputError(
            "SAFREE projects the hidden states of the second text encoder onto its projected states at the end token, so both "
            f"must be as wide; got {encoder.config.width} and {encoder.config.projection}"
        )
    return partial(encoder.end_states, projected=True)
