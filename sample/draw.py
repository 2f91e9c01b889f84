"""`python -m sample draw`: sets of images from a model."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from console.pictures import grid, to_uint8, write
from console.terminal import console, progress
from jaxdiff.errors import InputError
from jaxdiff.fairness import PairTransitions, SpectralTransition, Transition
from jaxdiff.fairness.transition import Found, point
from jaxdiff.sampleset import SampleSet
from sample import methods, safety
from sample.common import Sampling, Setting, setting
from sample.search import EDGES, Search, default_path, find
from sample.search import write as write_search

PREVIEW = 64

TAKERS = {
    "tau": ("switching", "spectral"),
    "tau_file": ("switching", "spectral"),
    "start": ("switching", "spectral"),
    "edges": ("spectral",),
    "mixing": ("mixing",),
    "shares": ("score_mixing",),
    "target": ("score_mixing", "fair_diffusion"),
    "assignment": ("fair_diffusion",),
    "edit_scale": ("fair_diffusion",),
    "edit_start": ("fair_diffusion",),
    "edit_strength": ("editing",),
}
"""The methods that take an option."""


@dataclass(frozen=True)
class Draw(Sampling, safety.Guarding):
    """Draws a set of images, as many of each group, by one method.

    For switching and spectral, tau is read from the search's file, searched when there is none, or given. Sample i of every
    method starts from the same noise. A set that was cut off goes on where it stopped.

    Examples:

      python -m sample draw --model runs/faces --method switching --attribute group --count 4096 --out out/switching

      python -m sample draw --model runs/faces --method vanilla --count 4096 --out out/vanilla --format png

      python -m sample draw --model runs/faces --method switching --tau 0.2 0.4 0.6 0.8 --out out/sweep

      python -m sample draw --model runs/faces --method spectral --edges 1.5 4 --tau 0.94 0.8 0.6 --out out/spectral

      python -m sample draw --model runs/faces --method fair_diffusion --target 0.3 0.7 --out out/fair

      python -m sample draw --model runs/utkface --method switching --attribute gender+race --out out/intersections

      python -m sample draw --model runs/faces --method switching --start none --tau 0.5 --out out/late

      python -m sample draw --model runs/faces --unsafe embedded:glasses=yes --unsafe-count 512 --out out/safe

      python -m sample draw --model runs/faces --method switching --unsafe private/ --strength 0.5 --out out/fair-and-safe
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    out: Path
    """Folder of the set (of the sets, with several --tau)."""
    method: Literal[
        "vanilla", "unconditional", "mixing", "score_mixing", "fair_diffusion", "editing", "switching", "spectral"
    ] = "vanilla"
    """How the label is given; the table above says what each does."""
    attribute: str | None = None
    """The sensitive attribute, or the combinations of several joined by +; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The values to draw, two or more; by default all."""
    count: int = 1024
    """Images in all; as many of each value."""
    tau: tuple[float, ...] = ()
    """switching: transition points in [0, 1] instead of the search's, a set for each; spectral: one for each band."""
    tau_file: Path | None = None
    """switching, spectral: the search's file; by default tau-ATTRIBUTE.json, or spectral-ATTRIBUTE.json, in the model's
    folder."""
    mixing: float = 0.6
    """mixing: the weight of an image's own label, in [0, 1]; the others share the rest."""
    edges: tuple[float, ...] = ()
    """spectral: the radii at which bands of frequencies meet, in half-cycles an image; one fewer than --tau. By default those
    of the search."""
    shares: tuple[float, ...] = ()
    """score_mixing: the shares of the values in the data; by default equal."""
    target: tuple[float, ...] = ()
    """score_mixing, fair_diffusion: the shares that are wanted; by default equal."""
    assignment: Literal["balanced", "iid"] = "balanced"
    """fair_diffusion: values in exactly the shares of --target, or each image's drawn on its own."""
    edit_scale: float = 4.0
    """fair_diffusion: strength of the semantic guidance."""
    edit_start: float = 0.8
    """fair_diffusion: the time from which on it acts, in (0, 1]."""
    edit_strength: float = 0.8
    """editing: the time that images are encoded to, in (0, 1]; more changes more."""
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
        for name, takers in TAKERS.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and self.method not in takers:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option} is for --method {' and '.join(takers)}, got --method {self.method}")
        if self.method == "editing" and self.solver not in ("ddim", "heun"):
            raise InputError(f"--method editing takes --solver ddim or heun, which run upward too, got --solver {self.solver}")
        if self.method == "spectral" and self.tau and not len(self.tau) == len(self.edges) + 1 > 1:
            raise InputError(
                "--method spectral takes a --tau for each band, one more than --edges, or neither for those of the search; "
                f"got --tau {self.tau}, --edges {self.edges}"
            )
        if self.tau and self.tau_file:
            raise InputError(f"--tau {self.tau} and --tau-file {self.tau_file} are two ways to give tau: take one")
        if any(not 0 <= tau <= 1 for tau in self.tau):
            raise InputError(f"--tau takes times in [0, 1], got {self.tau}")
        if not 0 <= self.mixing <= 1:
            raise InputError(f"--mixing must lie in [0, 1], got {self.mixing}")
        self.check(steps_as_ddpm=self.solver == "ddpm")
        if self.guarded and self.method == "editing":
            raise InputError("--unsafe and --guard are for methods that draw in one run, got --method editing")


def searched(options: Draw, chosen: Setting, guard: safety.Guard | None) -> Found:
    """What the search found, from its file, made first where there is none; an error where it was found in another context."""
    spectral = options.method == "spectral"
    by_images = guard if guard and options.kind in safety.BY_IMAGES and not spectral else None
    path = options.tau_file or default_path(options.model, chosen.attribute.name, "spectral" if spectral else "tau", by_images)
    chosen = replace(chosen, guard=by_images)
    if not path.exists():
        if options.tau_file:
            raise InputError(f"--tau-file {path} does not exist; `python -m sample search --out {path}` makes it")
        console.print(f"no {path}: searching tau first")
        alike = (*fields(Sampling), *(fields(safety.Guarding) if by_images else ()))
        same = {field.name: getattr(options, field.name) for field in alike}
        kind = {"mode": "spectral", "edges": options.edges or EDGES} if spectral else {}
        search = Search(options.model, chosen.attribute.name, chosen.names, **kind, **same)
        found, curves = find(search, chosen)
        write_search(path, found, curves, chosen)
    else:
        found = _read(path, (SpectralTransition,) if spectral else (Transition, PairTransitions))
    edges = {"edges": list(options.edges)} if options.edges else {}
    found.require({**chosen.context(), **edges})
    return found


def _read(path: Path, kinds: Sequence[type[Found]]) -> Found:
    """The result of a search that a file holds, of one of these kinds."""
    refused = []
    for kind in kinds:
        try:
            return kind.from_json(path.read_text())
        except InputError as error:
            refused.append(str(error))
    raise InputError(f"{path} is damaged, or of another method: {'; '.join(refused)}")


def points(options: Draw, chosen: Setting, guard: safety.Guard | None) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Of each set to draw its folder, the points for `methods.Options`, and what its provenance tells of them."""
    if options.method not in ("switching", "spectral"):
        yield options.out, {}, {}
    elif not options.tau:
        match found := searched(options, chosen, guard):
            case Transition():
                told = {"tau": found.tau, "timestep": found.timestep, "snr": found.snr}
                yield options.out, {"tau": (found.tau,)}, {**told, "search": found.mode}
            case PairTransitions():
                yield options.out, {"tau_of_pairs": found.tau}, {"taus": found.tau, "search": found.mode}
            case SpectralTransition():
                edges = tuple(found.context["edges"])
                told = {"taus": found.taus, "edges": edges, "search": found.mode}
                yield options.out, {"tau": found.taus, "edges": edges}, told
    elif options.method == "spectral":
        yield options.out, {}, {"taus": options.tau, "edges": options.edges, "search": "given"}
    else:
        for tau in options.tau:
            folder = options.out / f"tau-{tau:.3f}" if len(options.tau) > 1 else options.out
            yield folder, {"tau": (tau,)}, {**point(chosen.model.process, tau), "search": "given"}


def draw(options: Draw) -> list[Path]:
    """Draws the sets; returns their folders."""
    chosen = setting(options.model, options.attribute, options.values, options)
    guard = safety.Guard(options, chosen) if options.guarded else None
    return [draw_set(options, chosen, guard, *each) for each in points(options, chosen, guard)]


def draw_set(
    options: Draw,
    chosen: Setting,
    guard: safety.Guard | None,
    folder: Path,
    points: dict[str, Any],
    told: dict[str, Any],
) -> Path:
    """Draws what is missing of one set."""
    taken = {field.name: getattr(options, field.name) for field in fields(methods.Options) if field.name in {*TAKERS, "seed"}}
    method = methods.make(options.method, chosen, methods.Options(**{**taken, **points}), guard)
    provenance = {
        **chosen.context(),
        "model_training": chosen.model.training,
        "method": options.method,
        "seed": options.seed,
        "evaluations": method.evaluations,
        **method.settings,
        **told,
        **(guard.settings if guard else {}),
    }
    ends = method.ends(options.count)
    samples = SampleSet.create(folder, provenance, chosen.model.attributes, chosen.labels(ends), options.format)
    missing = samples.missing()
    left = sum(stop - start for start, stop in missing)
    seconds = []
    with progress(f"drawing {folder.name}", options.count, done=options.count - left, unit="images") as advance:
        for start, stop in missing:
            parts, notes = [], []
            for low in range(start, stop, options.batch_size):
                # the last batch is filled up, so that one program serves all
                indices, begun = np.arange(low, low + options.batch_size), time.monotonic()
                part, note = method.draw(indices, ends[np.minimum(indices, options.count - 1)])
                part = part[: stop - low]
                seconds.append((time.monotonic() - begun) / options.batch_size)
                if not np.all(np.isfinite(part)):
                    raise InputError(f"the model returned NaN or infinity in samples {low} to {low + len(part) - 1}")
                parts.append(to_uint8(part))
                notes.append({name: values[: stop - low] for name, values in note.items()})
                advance(len(part))
            together = {name: np.concatenate([note[name] for note in notes]) for name in notes[0]}
            samples.write(start, np.concatenate(parts), together)
    samples.finish()
    if guard:
        console.print(safety.summary(samples.notes(), gated=options.gated), highlight=False)
    if len(seconds) > 1:
        # the first batch compiles
        samples.record_seconds(float(np.median(seconds[1:])))
    shown = np.stack([samples.image(i) for i in range(min(PREVIEW, options.count))])
    write(grid(shown), folder / "preview.png")
    console.print(f"written: {folder}, {options.count} images, preview.png")
    return folder


def method_table() -> str:
    """The methods as a table for `--help`."""
    parts = {"Methods": methods.METHODS, "Guards, round any of them but editing": safety.GUARDS}
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:<16} {about}" for name, about in rows.items())]) for title, rows in parts.items()
    )


assert set(methods.METHODS) == set(get_args(Draw.__annotations__["method"]))
