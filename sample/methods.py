"""The methods of `sample draw`: which label each image has, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxdiff import editing, guidance, parallel
from jaxdiff.bands import frequency_bands
from jaxdiff.fairness.assignment import assign
from jaxdiff.solvers import sample
from jaxdiff.solvers.driver import evaluations, lowered

from . import safety
from .common import Setting

METHODS = {
    "vanilla": "under the image's own label",
    "unconditional": "under no label; the label written beside it is a coin's: the floor that a fair method must beat",
    "mixing": "under a fixed mixture of the label embeddings, --mixing of its own",
    "score_mixing": "under no label, its values weighted anew from --shares to --target; the label beside it is a coin's",
    "fair_diffusion": "under no label, led by semantic guidance towards a value drawn in the shares --target",
    "editing": "DiffEdit: a vanilla sample of another label, edited to its own",
    "switching": "under another label first (under none: --start none), under its own from --tau on",
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
        tau: transition points: the one of switching, or one for each band.
        tau_of_pairs: of switching, the transition point from each value (rows) to each (columns), in place of `tau`.
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
    tau_of_pairs: tuple[tuple[float, ...], ...] = ()
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class Method:
    """A method made ready.

    Attributes:
        ends: the label of each image as a position in the setting's values, a function of the number of images.
        draw: images (B, H, W, C) in [-1, 1] of these indices and labels, and what a guard did to each, by name; under
            `jax.set_mesh` of the setting's mesh. Every process calls it, with B rows of its own, and gets theirs.
        lower: the program that `draw` runs for so many images on all devices; of editing, the one that it begins with.
        evaluations: of the network for an image.
        settings: the options that it used, for provenance.
    """

    ends: Callable[[int], Int[np.ndarray, " n"]]
    draw: Callable[[Int[np.ndarray, " b"], Int[np.ndarray, " b"]], tuple[Float[np.ndarray, "b h w c"], dict[str, np.ndarray]]]
    lower: Callable[[int], jax.stages.Lowered]
    evaluations: int
    settings: dict[str, Any]


def starts(indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"], values: int) -> Int[np.ndarray, " b"]:
    """The value that each image starts under, another than it ends under: each of the others in turn."""
    return (ends + 1 + indices // values % (values - 1)) % values


def make(name: str, chosen: Setting, options: Options, guard: safety.Guard | None = None) -> Method:
    """The method of this name for a model, with a guard round it if there is one."""
    if guard is not None:
        chosen = guard.base
    model, key = chosen.model, jax.random.key(options.seed)
    # on the host: each process takes those of its own rows
    values, conditions, null = len(chosen.values), np.asarray(chosen.conditions()), np.asarray(chosen.null)
    equal = (1 / values,) * values

    def in_turn(count):
        return np.arange(count) % values

    def own(indices, ends):
        return conditions[ends]

    def nothing(indices, ends):
        return np.broadcast_to(null, (len(ends), *null.shape))

    def others(indices, ends):
        """The mean of all other values' conditions."""
        return (conditions.sum(0) - conditions[ends]) / (values - 1)

    def another(indices, ends):
        return conditions[starts(indices, ends, values)], conditions[ends]

    def switched(indices, ends):
        return (nothing(indices, ends), conditions[ends]) if chosen.start == "none" else another(indices, ends)

    def every(indices, ends):
        return nothing(indices, ends), tuple(np.broadcast_to(each, (len(ends), *each.shape)) for each in conditions)

    def guarded(denoise, condition):
        return denoise if guard is None else guard.around(denoise, condition)

    def dealt(rows):
        return parallel.deal(chosen.mesh, rows)

    same = {"shape": model.shape, "solver": chosen.solver, "key": key}

    def run(denoise, condition, indices):
        denoise = guarded(denoise, condition)
        x, memory = sample(denoise, model.process, condition=condition, indices=indices, remembered=True, **same)
        return x, guidance.record(denoise, memory, len(indices))

    def lower(denoise, condition, count):
        rows = np.arange(count // jax.process_count(), dtype=np.int32)
        given = dealt(condition(rows, in_turn(len(rows))))
        return lowered(guarded(denoise, given), model.process, condition=given, indices=dealt(rows), **same)

    def here(x, record=None):
        return parallel.rows_here(x), {} if record is None else safety.told(record, model.process)

    def cost(denoise, condition):
        return evaluations(guarded(denoise, condition(np.arange(1), np.zeros(1, int))), model.process, chosen.solver)

    def guided(denoise, condition, ends=in_turn, **settings):
        def draw(indices, ends):
            return here(*run(denoise, dealt(condition(indices, ends)), dealt(indices)))

        return Method(ends, draw, partial(lower, denoise, condition), cost(denoise, condition), settings)

    match name:
        case "vanilla":
            return guided(chosen.denoise, own)
        case "unconditional":
            return guided(chosen.denoise, nothing)
        case "mixing":
            both = lambda indices, ends: (others(indices, ends), own(indices, ends))  # noqa: E731
            return guided(guidance.mixing(chosen.denoise, options.mixing), both, mixing=options.mixing)
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
                model.denoise, model.process, chosen.null,
                strengths=options.edit_scale * np.array([-1.0, 1.0], np.float32), scale=chosen.scale, start=options.edit_start,
            )  # fmt: skip
            away_towards = lambda *given: (nothing(*given), (others(*given), own(*given)))  # noqa: E731
            drawn = lambda count: assign(count, settings["target"], seed=options.seed, mode=options.assignment)  # noqa: E731
            return guided(guidance.clipped(led), away_towards, drawn, **settings)
        case "editing":

            def edited(indices, ends):
                source, target = dealt(another(indices, ends))
                indices = dealt(indices)
                first, _ = run(chosen.denoise, source, indices)
                images = editing.edit(
                    chosen.denoise, model.process, first, source=source, target=target, solver=chosen.solver,
                    key=jax.random.fold_in(key, 1), strength=options.edit_strength, indices=indices,
                ).images  # fmt: skip
                return here(images)

            plain = cost(chosen.denoise, own)
            total = plain + (
                editing.edit_evaluations(model.process, chosen.solver, strength=options.edit_strength)
                * plain
                // chosen.solver.evaluations
            )
            begun = partial(lower, chosen.denoise, own)
            return Method(in_turn, edited, begun, total, {"edit_strength": options.edit_strength})
        case "switching" if options.tau_of_pairs:
            table = np.array(options.tau_of_pairs, np.float32)

            def of_pairs(indices, ends):
                at = dealt(table[starts(indices, ends, values), ends])
                return here(*run(guidance.switching(chosen.denoise, at), dealt(switched(indices, ends)), dealt(indices)))

            # of one point for all, which costs as much
            begun = partial(lower, guidance.switching(chosen.denoise, 0.5), switched)
            return Method(in_turn, of_pairs, begun, cost(chosen.denoise, own), {})
        case "switching":
            return guided(guidance.switching(chosen.denoise, options.tau[0]), switched)
        case "spectral":
            bands = frequency_bands(model.shape, options.edges)
            denoise = guidance.clipped(guidance.spectral_switching(chosen.denoise, bands, options.tau))
            return guided(denoise, switched)
