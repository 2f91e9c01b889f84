"""The membership attack on a model: whether its loss distinguishes training images from held-out images."""

from dataclasses import asdict
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int32, UInt8

from jaxdiff._console.terminal import progress
from jaxdiff.batches import in_batches
from jaxdiff.data import Source
from jaxdiff.model import Model
from jaxdiff.safety.membership import attack_losses, membership_attack

from .conditions import conditions, require_finite

Labelled = tuple[Source, UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, "n a"]]
"""A source, and some of its images with their labels."""


def attack(options: Any, model: Model, members: Labelled, others: Labelled) -> list[dict[str, Any]]:
    """The attack at each of --times, JSON-ready.

    Arguments:
        options: options of the command.
        model: the model.
        members: training images of the model.
        others: as many held-out images.
    """
    answers, key = [], jax.random.key(options.seed)
    with progress("membership attack", len(options.times) * 2 * len(members[1]), unit="images") as advance:
        for t in options.times:
            losses = [_losses(options, model, images, t, key, advance) for images in (members, others)]
            found = membership_attack(*losses, seed=options.seed)
            means = [float(each.mean()) for each in losses]
            settings = {"t": t, "snr": float(model.process.snr(t)), "condition": options.condition, "draws": options.draws}
            answers.append({**settings, "mean_loss": means, **asdict(found)})
    return answers


def _losses(options: Any, model: Model, images: Labelled, t: float, key, advance) -> Float[np.ndarray, " n"]:
    source, pixels, labels = images
    given = conditions(model, source, labels, own=options.condition == "own")

    def losses(rows):
        x0 = model.space.encode(rows["images"])
        return attack_losses(
            model.denoise, model.process, x0, key=key, t=t, draws=options.draws, condition=rows.get("condition")
        )

    rows = {"images": pixels, **({} if given is None else {"condition": given})}
    found = in_batches(losses, rows, options.batch_size, advance=advance)
    require_finite(found, f"images of {source.name}")
    return found
