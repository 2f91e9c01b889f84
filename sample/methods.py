"""The methods of `sample draw`: which label each image has, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxdiff import editing, guidance
from jaxdiff.bands import frequency_bands
from jaxdiff.fairness.assignment import assign
from jaxdiff.models.labels import NULL
from jaxdiff.solvers import sample
from jaxdiff.solvers.driver import evaluations
from sample.common import Setting

METHODS = {
    "vanilla": "under the image's own label",
    "unconditional": "under no label; the label written beside it is a coin's: the floor that a fair method must beat",
    "mixing": "under a fixed mixture of both label embeddings, --mixing of its own",
    "score_mixing": "under no label, its values weighted anew from --shares to --target; the label beside it is a coin's",
    "fair_diffusion": "under no label, led by semantic guidance towards a value drawn in the shares --target",
    "editing": "DiffEdit: a vanilla sample of the other label, edited to its own",
    "switching": "under the other label first, under its own from --tau on",
    "spectral": "switching with a --tau for each band of frequencies between --edges",
}


@dataclass(frozen=True)
class Options:
    """What the methods take beside the setting.

    Attributes:
        seed: of the noise and of the draw of labels.
        mixing: see `METHODS`.
        shares: p(value) in the data.
        target: p(value) that is wanted.
        assignment: how labels are drawn, see `assign`.
        edit_scale: strength of semantic guidance.
        edit_start: the time from which on semantic guidance acts.
        edit_strength: the time that DiffEdit encodes to.
        tau: transition points, one for each band.
        edges: the radii between the bands, in half-cycles an image.
    """

    seed: int = 0
    mixing: float = 0.6
    shares: tuple[float, ...] = ()
    target: tuple[float, ...] = ()
    assignment: str = "balanced"
    edit_scale: float = 4.0
    edit_start: float = 0.8
    edit_strength: float = editing.STRENGTH
    tau: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class Method:
    """A method made ready.

    Attributes:
        ends: the label of each image as a position in the setting's values, a function of the number of images.
        draw: images (B, H, W, C) in [-1, 1] of these indices and labels.
        evaluations: of the network for an image.
        settings: the options that it used, for provenance.
    """

    ends: Callable[[int], Int[np.ndarray, " n"]]
    draw: Callable[[Int[np.ndarray, " b"], Int[np.ndarray, " b"]], Float[np.ndarray, "b h w c"]]
    evaluations: int
    settings: dict[str, Any]


def alternating(count: int) -> Int[np.ndarray, " n"]:
    """Labels in turn: as many of each value, whatever the noise."""
    return np.arange(count) % 2


def make(name: str, chosen: Setting, options: Options) -> Method:
    """The method of this name for a model."""
    model, key = chosen.model, jax.random.key(options.seed)
    equal = (0.5, 0.5)
    values = np.array(chosen.pair)

    def condition(ends):
        return chosen.condition(values[ends])

    null = chosen.condition(np.array([NULL]))[0]
    nothing = lambda ends: chosen.condition(np.full(len(ends), NULL))  # noqa: E731
    starting = lambda ends: (condition(1 - ends), condition(ends))  # noqa: E731
    every = lambda ends: (nothing(ends), tuple(condition(np.full(len(ends), k)) for k in range(2)))  # noqa: E731

    def run(denoise, conditions, indices):
        return np.asarray(
            sample(
                denoise, model.process, shape=model.shape, condition=conditions, solver=chosen.solver, key=key, indices=indices
            )
        )

    def guided(denoise, conditions, ends=alternating, **settings):
        cost = evaluations(denoise, model.process, chosen.solver)
        return Method(ends, lambda indices, own: run(denoise, conditions(own), indices), cost, settings)

    match name:
        case "vanilla":
            return guided(chosen.denoise, condition)
        case "unconditional":
            return guided(chosen.denoise, nothing)
        case "mixing":
            return guided(guidance.mixing(chosen.denoise, options.mixing), starting, mixing=options.mixing)
        case "score_mixing":
            settings = {"shares": options.shares or equal, "target": options.target or equal}
            weighted = guidance.score_mixing(chosen.denoise, shares=settings["shares"], reference=settings["target"])
            return guided(weighted, every, **settings)
        case "fair_diffusion":
            settings = {
                "target": options.target or equal, "assignment": options.assignment,
                "edit_scale": options.edit_scale, "edit_start": options.edit_start,
            }  # fmt: skip
            led = guidance.semantic(
                model.denoise, model.process, null,
                strengths=options.edit_scale * np.array([-1.0, 1.0], np.float32), scale=chosen.scale, start=options.edit_start,
            )  # fmt: skip
            draw_ends = lambda count: assign(count, settings["target"], seed=options.seed, mode=options.assignment)  # noqa: E731
            return guided(guidance.clipped(led), lambda ends: (nothing(ends), starting(ends)), draw_ends, **settings)
        case "editing":

            def edited(indices, ends):
                source, target = starting(ends)
                drawn = jnp.asarray(run(chosen.denoise, source, indices))
                return np.asarray(
                    editing.edit(
                        chosen.denoise, model.process, drawn, source=source, target=target, solver=chosen.solver,
                        key=jax.random.fold_in(key, 1), strength=options.edit_strength, indices=indices,
                    ).images
                )  # fmt: skip

            cost = editing.edit_evaluations(model.process, chosen.solver, strength=options.edit_strength)
            plain = evaluations(chosen.denoise, model.process, chosen.solver)
            total = plain + cost * plain // chosen.solver.evaluations
            return Method(alternating, edited, total, {"edit_strength": options.edit_strength})
        case "switching":
            return guided(guidance.switching(chosen.denoise, options.tau[0]), starting)
        case "spectral":
            bands = frequency_bands(model.shape, options.edges)
            switched = guidance.clipped(guidance.spectral_switching(chosen.denoise, bands, options.tau))
            return guided(switched, starting, tau=options.tau, edges=options.edges)

