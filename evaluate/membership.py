"""The membership attack on a model: whether its loss tells training images from held-out ones."""

from dataclasses import asdict
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int32, UInt8

from console.terminal import progress
from evaluate.conditions import conditions
from jaxdiff.data import Source
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.safety.membership import attack_losses, membership_attack

Labelled = tuple[Source, UInt8[np.ndarray, "n h w 3"], Int32[np.ndarray, "n a"]]
"""A source, and some of its images with their labels."""


def attack(options: Any, model: Model, members: Labelled, others: Labelled) -> list[dict[str, Any]]:
    """The attack at each of --times, JSON-ready.

    Arguments:
        options: the command's dataclass.
        model: the model.
        members: images that it was trained on.
        others: as many that it was not trained on.
    """
    answers, key = [], jax.random.key(options.seed)
    with progress("membership attack", len(options.times) * 2 * len(members[1]), unit="images") as advance:
        for t in options.times:
            losses = [_losses(options, model, images, t, key, advance) for images in (members, others)]
            found = membership_attack(*losses, seed=options.seed)
            means = [float(each.mean()) for each in losses]
            told = {"t": t, "snr": float(model.process.snr(t)), "condition": options.condition, "draws": options.draws}
            answers.append({**told, "mean_loss": means, **asdict(found)})
    return answers


def _losses(options: Any, model: Model, images: Labelled, t: float, key, advance) -> Float[np.ndarray, " n"]:
    source, pixels, labels = images
    given, parts = conditions(model, source, labels, own=options.condition == "own"), []
    for low in range(0, len(pixels), options.batch_size):
        # the last batch is filled up, so that one program serves all
        rows = np.minimum(np.arange(low, low + options.batch_size), len(pixels) - 1)
        x0 = pixels[rows].astype(np.float32) / 127.5 - 1
        own = None if given is None else given[rows]
        part = attack_losses(model.denoise, model.process, x0, key=key, t=t, draws=options.draws, condition=own)
        parts.append(np.asarray(part)[: len(pixels) - low])
        if not np.isfinite(parts[-1]).all():
            raise InputError(
                f"the model returned NaN or infinity on images {low} to {low + len(parts[-1]) - 1} of {source.name}"
            )
        advance(len(parts[-1]))
    return np.concatenate(parts)
