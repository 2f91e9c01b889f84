"""The membership attack on a model: whether its loss distinguishes training images from held-out images."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import jax
import numpy as np
from jaxtyping import Int32, UInt8

from jaxdiff._console.terminal import reported
from jaxdiff.data import Source
from jaxdiff.finished import Finished, run_all
from jaxdiff.model import Model
from jaxdiff.safety.membership import attack_losses, membership_attack

from .blocks import Block, blocks
from .conditions import conditions, require_finite

Labelled = tuple[Source, UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, "n a"]]
"""A source, and some of its images with their labels."""


def attack(options: Any, model: Model, members: Labelled, others: Labelled, finished: Finished) -> list[dict[str, Any]]:
    """The attack at each of --times, JSON-ready.

    Arguments:
        options: options of the command.
        model: the model.
        members: training images of the model.
        others: as many held-out images.
        finished: where finished losses are kept.
    """
    answers, both = [], (members, others)
    of = {(t, place): list(_losses(options, model, both[place], t, finished)) for t in options.times for place in (0, 1)}
    with reported("membership attack", unit="blocks") as report:
        found = iter(run_all(finished, [block for each in of.values() for block in each], report))
    losses = {name: np.concatenate([next(found) for _ in each]) for name, each in of.items()}
    for (_, place), each in losses.items():
        require_finite(each, f"images of {both[place][0].name}")
    for t in options.times:
        pair = losses[t, 0], losses[t, 1]
        means = [float(each.mean()) for each in pair]
        settings = {"t": t, "snr": float(model.process.snr(t)), "condition": options.condition, "draws": options.draws}
        answers.append({**settings, "mean_loss": means, **asdict(membership_attack(*pair, seed=options.seed))})
    return answers


def _losses(options: Any, model: Model, images: Labelled, t: float, finished: Finished) -> Iterator[Block]:
    """The blocks of the losses of images at one time."""
    source, pixels, labels = images
    key = jax.random.key(options.seed)
    given = conditions(model, source, labels, own=options.condition == "own")

    def losses(rows):
        x0 = model.space.encode(rows["images"])
        return attack_losses(
            model.denoise, model.process, x0, key=key, t=t, draws=options.draws, condition=rows.get("condition")
        )

    rows = {"images": pixels, **({} if given is None else {"condition": given})}
    about = (model.fingerprint, json.dumps(model.process.config()), options.seed, t, options.draws)
    return blocks(finished, "losses", about, losses, rows, options.batch_size)
