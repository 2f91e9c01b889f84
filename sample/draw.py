"""`python -m sample draw`: sets of images from a model."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from console.pictures import grid, to_uint8, write
from console.terminal import console, progress
from jaxdiff import guidance
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.fairness.transition import point
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import sample
from sample.common import Sampling, Setting, setting
from sample.search import Search, default_path, find_transition
from sample.search import write as write_transition

PREVIEW = 64


@dataclass(frozen=True)
class Draw(Sampling):
    """Draws a set of images, half of each group, by one method.

    vanilla: under the image's own label. mixing: under a fixed mixture of both label embeddings, --mixing of its own.
    switching: under the other label first and under its own from tau on; tau is read from the search's file, searched
    when there is none, or given. Sample i of every method starts from the same noise. A set that was cut off goes on
    where it stopped.

    Examples:

      python -m sample draw --model runs/faces --method switching --attribute group --count 4096 --out out/switching

      python -m sample draw --model runs/faces --method vanilla --count 4096 --out out/vanilla --format png

      python -m sample draw --model runs/faces --method switching --tau 0.2 0.4 0.6 0.8 --out out/sweep
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    out: Path
    """Folder of the set (of the sets, with several --tau)."""
    method: Literal["vanilla", "mixing", "switching"] = "vanilla"
    """How the label is given."""
    attribute: str | None = None
    """The sensitive attribute; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The two values to draw; by default both of a binary attribute."""
    count: int = 1024
    """Images in all; half of each group."""
    tau: tuple[float, ...] = ()
    """switching: transition points in [0, 1] instead of the search's."""
    tau_file: Path | None = None
    """switching: the search's file; by default tau-ATTRIBUTE.json in the model's folder."""
    mixing: float = 0.6
    """mixing: the weight of an image's own label, in [0, 1]."""
    batch_size: int = 64
    """Images at once; the images do not depend on it."""
    seed: int = 0
    """Seed; sample i is a function of (seed, i)."""
    format: Literal["npz", "png"] = "npz"
    """Shards of arrays, or plain files with labels.csv."""

    def __post_init__(self):
        for name in ("count", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if self.method == "switching" and self.steps < 2:
            raise InputError(f"--method switching takes --steps of at least 2, got {self.steps}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if (self.tau or self.tau_file) and self.method != "switching":
            raise InputError(f"--tau and --tau-file are for --method switching, got --method {self.method}")
        if self.tau and self.tau_file:
            raise InputError(f"--tau {self.tau} and --tau-file {self.tau_file} are two ways to give tau: take one")
        if any(not 0 <= tau <= 1 for tau in self.tau):
            raise InputError(f"--tau takes times in [0, 1], got {self.tau}")
        if not 0 <= self.mixing <= 1:
            raise InputError(f"--mixing must lie in [0, 1], got {self.mixing}")


def transition(options: Draw, chosen: Setting) -> tuple[float, dict[str, Any]]:
    """tau from the search's file, made first where there is none; an error where it was found in another context."""
    path = options.tau_file or default_path(options.model, chosen.attribute.name)
    if path.exists():
        try:
            found = Transition.from_json(path.read_text())
        except InputError as error:
            raise InputError(f"{path} is damaged: {error}") from error
    elif options.tau_file:
        raise InputError(f"--tau-file {path} does not exist; `python -m sample search --out {path}` makes it")
    else:
        console.print(f"no {path}: searching tau first")
        same = {field.name: getattr(options, field.name) for field in fields(Sampling)}
        search = Search(options.model, chosen.attribute.name, tuple(chosen.context()["pair"]), **same)
        found = find_transition(search, chosen)
        write_transition(path, found)
    found.require(chosen.context())
    return found.tau, {"tau": found.tau, "timestep": found.timestep, "snr": found.snr, "search": found.mode}


def draw(options: Draw) -> list[Path]:
    """Draws the sets; returns their folders."""
    chosen = setting(options.model, options.attribute, options.values, options)
    if options.method != "switching":
        return [draw_set(options, chosen, options.out, {})]
    if not options.tau:
        return [draw_set(options, chosen, options.out, transition(options, chosen)[1])]
    several = len(options.tau) > 1
    folders = []
    for tau in options.tau:
        told = {**point(chosen.model.process, tau), "search": "given"}
        folders.append(draw_set(options, chosen, options.out / f"tau-{tau:.3f}" if several else options.out, told))
    return folders


def guided(options: Draw, chosen: Setting, tau: float | None) -> Callable:
    """The denoiser of the method; it takes a pair of conditions, vanilla its second alone."""
    match options.method:
        case "vanilla":
            return chosen.denoise
        case "mixing":
            return guidance.mixing(chosen.denoise, options.mixing)
        case "switching":
            return guidance.switching(chosen.denoise, tau)


def draw_set(options: Draw, chosen: Setting, folder: Path, told: dict[str, Any]) -> Path:
    """Draws what is missing of one set."""
    provenance = {
        **chosen.context(),
        "model_training": chosen.model.training,
        "method": options.method,
        "seed": options.seed,
        **({"mixing": options.mixing} if options.method == "mixing" else {}),
        **told,
    }
    first, second = chosen.pair
    ends = np.where(np.arange(options.count) % 2 == 0, first, second)
    samples = SampleSet.create(folder, provenance, chosen.model.attributes, chosen.labels(ends), options.format)
    denoise, key = guided(options, chosen, told.get("tau")), jax.random.key(options.seed)
    missing = samples.missing()
    left = sum(stop - start for start, stop in missing)
    with progress(f"drawing {folder.name}", options.count, done=options.count - left, unit="images") as advance:
        for start, stop in missing:
            parts = []
            for low in range(start, stop, options.batch_size):
                # the last batch is filled up, so that one program serves all
                indices = np.arange(low, low + options.batch_size)
                own = np.where(indices % 2 == 0, first, second)
                end = chosen.condition(own)
                condition = end if options.method == "vanilla" else (chosen.condition(first + second - own), end)
                drawn = sample(
                    denoise,
                    chosen.model.process,
                    shape=chosen.model.shape,
                    condition=condition,
                    solver=chosen.solver,
                    key=key,
                    indices=indices,
                )
                part = np.asarray(drawn)[: stop - low]
                if not np.all(np.isfinite(part)):
                    raise InputError(f"the model returned NaN or infinity in samples {low} to {low + len(part) - 1}")
                parts.append(to_uint8(part))
                advance(len(part))
            samples.write(start, np.concatenate(parts))
    samples.finish()
    shown = np.stack([samples.image(i) for i in range(min(PREVIEW, options.count))])
    write(grid(shown), folder / "preview.png")
    console.print(f"written: {folder}, {options.count} images, preview.png")
    return folder
