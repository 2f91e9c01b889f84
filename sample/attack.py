"""`jaxdiff sample attack`: searches for the noise and the prompt embedding that break a guarded model."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from rich.table import Table

from jaxdiff import load_classifier, parallel, safety
from jaxdiff._console.attack_plot import plot
from jaxdiff._console.classifiers import unsafe as unsafe_images
from jaxdiff._console.classifiers.unsafe import values_of
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.terminal import console, progress
from jaxdiff.classifier import LogOdds, NoisedClassifier
from jaxdiff.conditions.text import Prompts
from jaxdiff.data.spec import chosen_values, parse_selection
from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, key_of, once
from jaxdiff.process import EARLIEST
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import require_pixels
from jaxdiff.statistics import wilson_interval
from jaxdiff.writing import write_text

from .attack_options import Attack
from .drawing import Drawing
from .gating import Gating, gating
from .registry import Method
from .setting import setting

REPORT, FIGURE = "attack.json", "attack.png"
SHOWN = (0, 1, 5, 21, 101, 501)
"""Budgets in the printed table, beside the whole."""


@partial(jax.tree_util.register_dataclass, data_fields=["log_odds", "decoding"], meta_fields=[])
@dataclass(frozen=True)
class Odds:
    """The log odds of samples of the process, decoded where it has latents, by a classifier of noised images without noise."""

    log_odds: LogOdds
    decoding: Any

    def __call__(self, x: Float[Array, "b ..."]) -> Float[Array, " b"]:
        """The log odds."""
        return self.log_odds(x if self.decoding is None else self.decoding(x), EARLIEST)


_caught = jax.jit(lambda odds, x: odds(x) > 0)
Verdict = Callable[[np.ndarray], Any]
"""Whether each sample of the process is unsafe."""


def attack(options: Attack) -> Path:
    """Attacks the images and writes the report; returns its folder."""
    if jax.process_count() > 1:
        raise InputError(f"`sample attack` runs in one process, got {jax.process_count()}; --batch-size serves several devices")
    with kept_parts(options.out, "attack") as finished:  # first, so that an output that cannot be written costs no work
        drawing = _drawing(options)
        parallel.check_divides(drawing.chosen.mesh, options.batch_size, "--batch-size")
        gates = gating(options, drawing.chosen)
        score, verdict, settings = _classifiers(options, drawing)
        verdict, refused = _behind(gates, drawing, verdict), gates.unsafe_prompts(drawing.chosen, drawing.ends(options.count))
        settings |= gates.settings() | {
            name: getattr(options, name) for name in ("budget", "noise_radius", "prompt_radius", "seek")
        } | drawing.settings()  # fmt: skip
        found = {search: _attacked(options, search, drawing, score, verdict, settings, finished) for search in options.search}
        report = {"settings": settings, "count": options.count, "searches": {}}
        for search, arrays in found.items():
            report["searches"][search] = summary(arrays["runs"], arrays["broken"] & ~refused, arrays["scores"])
            _write_images(options, drawing, search, arrays["samples"], settings)
        write_text(options.out / REPORT, json.dumps(report, indent=1))
        plot(options.out / FIGURE, report["searches"], f"attack on {options.model.name}, {options.seek}")
    console.print(_table(report))
    console.print(f"written: {options.out}, {REPORT}, {FIGURE} and the images of each search")
    return options.out


def summary(runs: np.ndarray, broken: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """The shares of images on which the defence held after each budget, with their intervals, and the mean scores.

    Arguments:
        runs: (E,); broken, scores: (E, N), see `jaxdiff.safety.Attacked`.
    """
    held = 1 - broken.mean(1)
    low, high = wilson_interval(held, np.full(len(held), broken.shape[1])).T
    curves = {"runs": runs, "held": held, "low": low, "high": high, "log_odds": scores.mean(1)}
    return {name: np.round(curve.astype(float), 6).tolist() for name, curve in curves.items()}


def _drawing(options: Attack) -> Drawing:
    """What is attacked."""
    method = options.method
    if type(method).draw is not Method.draw:
        raise InputError(f"an attack follows one run of the solver, and {method.spelled()} has several; choose another method")
    chosen = setting(options.model, options.attribute, options.values, options, method=method, start=method.start)
    if options.prompt_radius and not isinstance(chosen.model.conditions, Prompts):
        raise InputError(f"--prompt-radius is for text-to-image models, and {options.model} has no prompts")
    if options.prompt_radius and len(chosen.model.conditions.encoders) > 1:
        raise InputError(f"--prompt-radius moves the only embedding of a prompt, and {options.model} has two text encoders")
    sets = list(method.sets(options, chosen))
    if len(sets) > 1:
        raise InputError(f"an attack takes one set, got {len(sets)} values of --tau")
    return Drawing(chosen, sets[0][1], options.seed)


def _classifiers(options: Attack, drawing: Drawing) -> tuple[Odds, Verdict, dict[str, Any]]:
    """The score, the verdict, and their part of the settings."""
    wanted = parse_selection(options.seek)
    if len(wanted) != 1:
        raise InputError(f"--seek takes ATTRIBUTE=VALUE of one attribute, got {options.seek!r}")
    ((attribute, text),) = wanted.items()
    space, found = drawing.chosen.model.space, {}
    shown, request = space.shown.shape, options.verdict_request()
    for option in ("score", "verdict") if request is None else ("score",):
        path, found[option] = getattr(options, option), load_classifier(getattr(options, option))
        classifier: NoisedClassifier = found[option]
        if classifier.attribute.name != attribute:
            raise InputError(f"--seek {options.seek} needs a classifier of {attribute!r}; that of --{option} {path} predicts "
                             f"{classifier.attribute.name!r}")  # fmt: skip
        if classifier.shape != shown:
            raise InputError(f"--{option} {path} takes images of shape {classifier.shape}, and the model draws {shown}")

    def odds(classifier: NoisedClassifier) -> Odds:
        return Odds(classifier.log_odds(chosen_values(text, classifier.attribute.values, attribute)), space.decoding)

    score, prints = odds(found["score"]), {option: classifier.fingerprint for option, classifier in found.items()}
    if request is not None:
        unsafe = () if request.kind == "safety checker" else chosen_values(text, values_of(request, attribute), attribute)
        require_pixels(space.shown, "--verdict classifies images, and the model")
        outside = unsafe_images.opened(request, unsafe, np.full(shown, 128, np.uint8), "--seek")
        return score, lambda samples: outside.decide(space.decode(samples)), {**prints, "verdict": outside.about}
    if found["score"].fingerprint == found["verdict"].fingerprint:
        raise InputError("--verdict must be another classifier than --score: an attack also finds the errors of its own")
    verdict = odds(found["verdict"])
    return score, lambda samples: _caught(verdict, jnp.asarray(samples)), prints


def _behind(gates: Gating, drawing: Drawing, verdict: Verdict) -> Verdict:
    """The verdict on samples that pass the image gate, if there is one: the others are refused, so they are not unsafe."""
    if gates.image is None:
        return verdict
    space = drawing.chosen.model.space
    return lambda samples: np.asarray(verdict(samples)) & ~gates.caught(space.decode(samples))


def _attacked(
    options: Attack, search: str, drawing: Drawing, score: Odds, verdict: Verdict, settings: dict[str, Any], finished: Finished
) -> dict[str, np.ndarray]:
    """The result of a search for all images, batch by batch; each batch is kept."""
    parts, size, ends = [], options.batch_size, drawing.ends(options.count)
    with progress(f"{search} search", options.count, done=0, unit="images") as advance:
        for start in range(0, options.count, size):
            # the last batch is filled up, so that one program serves all
            indices = start + np.arange(size, dtype=np.int32)
            own = ends[np.minimum(indices, options.count - 1)]
            run = partial(_batch, options, search, drawing, score, verdict, indices, own)
            parts.append(once(finished, key_of("attack", json.dumps(settings, default=str), search, indices), run))
            advance(min(size, options.count - start))
    joined = {name: np.concatenate([part[name] for part in parts], axis)[: options.count] for name, axis in (("samples", 0),)}
    rows = {name: np.concatenate([part[name] for part in parts], 1)[:, : options.count] for name in ("scores", "broken")}
    return {"runs": parts[0]["runs"], **joined, **rows}


def _batch(
    options: Attack, search: str, drawing: Drawing, score: Odds, verdict: Verdict, indices: np.ndarray, ends: np.ndarray
) -> dict[str, np.ndarray]:
    """The attack on one batch."""
    chosen = drawing.chosen
    condition = drawing.over_devices(drawing.method.condition(drawing.plan, indices, ends))
    given = chosen.nest.given(condition)
    key, numbers = drawing.noise(indices, ends)
    norm = math.sqrt(math.prod(chosen.model.shape)) * float(chosen.model.process.scale(1.0))
    with jax.set_mesh(chosen.mesh):
        found = safety.attack(
            drawing.denoiser(condition, indices, ends), chosen.model.process, score, shape=chosen.model.shape,
            solver=chosen.solver, key=key, condition=given, indices=numbers,
            noise=safety.shell(options.noise_radius * norm) if options.noise_radius else None,
            prompt=_around(options.prompt_radius, given) if options.prompt_radius else None,
            budget=options.budget, search=search, verdict=verdict,
        )  # fmt: skip
    return {name: value for name, value in asdict(found).items() if name != "points"}


def _around(radius: float, condition: Any) -> safety.Ball:
    """A ball around each prompt embedding, whose radius is a share of their root mean square norm."""
    embedding = max((leaf for leaf in jax.tree.leaves(condition) if jnp.issubdtype(leaf.dtype, jnp.floating)), key=jnp.size)
    return safety.ball(radius * float(jnp.sqrt(jnp.square(embedding).sum() / len(embedding))))


def _write_images(options: Attack, drawing: Drawing, search: str, samples: np.ndarray, settings: dict[str, Any]) -> None:
    """The images of the highest score as a set."""
    model, ends = drawing.chosen.model, drawing.ends(options.count)
    description = ({**settings, "search": search}, model.conditions.attributes, drawing.labels(ends), model.space)
    made = SampleSet.create(options.out / search, *description)
    for start, stop in made.missing():
        made.write(start, model.space.decode(samples[start:stop]))
    made.finish()


def _table(report: dict[str, Any]) -> Table:
    """The shares on which the defence held, at a few budgets."""
    table = Table(title=f"images on which the defence holds, of {report['count']}", title_justify="left")
    for name in ("search", "runs", "share", "95 % interval", "mean log odds"):
        table.add_column(name, justify="left" if name == "search" else "right")
    for search, curve in report["searches"].items():
        runs = np.array(curve["runs"])
        # the last evaluation within each budget
        for place in dict.fromkeys(int(np.flatnonzero(runs <= most)[-1]) for most in (*SHOWN, runs[-1])):
            interval = f"{curve['low'][place]:.3f} to {curve['high'][place]:.3f}"
            numbers = f"{curve['held'][place]:.3f}", interval, f"{curve['log_odds'][place]:.2f}"
            table.add_row(search, f"{int(runs[place])}", *numbers)
    return table
