"""`python -m sample draw`: sets of images from a model."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np

from jaxdiff import parallel
from jaxdiff._console.first import write_once
from jaxdiff._console.lock import lock
from jaxdiff._console.pictures import grid, write
from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError
from jaxdiff.fairness import PairTransitions, SpectralTransition, Transition
from jaxdiff.fairness.transition import SearchResult, time_fields
from jaxdiff.sampleset import FILE, SampleSet

from . import methods, safety
from .batch import images_at_once
from .common import Sampling, Setting, setting
from .search import EDGES, Search, default_path, find
from .search import write as write_search

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
    batch_size: int | None = None
    """Images at once, on all devices together, which must divide it; by default as many as the memory of accelerators holds, on
    processors 64. The images do not depend on it."""
    seed: int = 0
    """Seed; sample i is a function of (seed, i)."""
    format: Literal["npz", "png"] = "npz"
    """Shards of arrays, or plain files with labels.csv."""
    dry_run: bool = False
    """Print the resolved options and what a batch takes on each device, by compiling it, and draw nothing."""
    devices: int | None = None
    """With --dry-run: compile for so many devices, in place of those that there are."""

    def __post_init__(self):
        for name in ("count", "batch_size"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {given}")
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
        if self.devices is not None and not self.dry_run:
            raise InputError(f"--devices is for --dry-run, got {self.devices} without it")
        if self.tau and self.tau_file:
            raise InputError(f"--tau {self.tau} and --tau-file {self.tau_file} are two ways to give tau: take one")
        if any(not 0 <= tau <= 1 for tau in self.tau):
            raise InputError(f"--tau takes times in [0, 1], got {self.tau}")
        if not 0 <= self.mixing <= 1:
            raise InputError(f"--mixing must lie in [0, 1], got {self.mixing}")
        self.check(steps_as_ddpm=self.solver == "ddpm")
        if self.guarded and self.method == "editing":
            raise InputError("--unsafe and --guard are for methods that draw in one run, got --method editing")


def searched(options: Draw, chosen: Setting, guard: safety.Guard | None) -> SearchResult:
    """What the search found, from its file, made first where there is none; an error where it was found in another context."""
    spectral = options.method == "spectral"
    by_images = guard if guard and options.kind in safety.BY_IMAGES and not spectral else None
    path = options.tau_file or default_path(options.model, chosen.attribute.name, "spectral" if spectral else "tau", by_images)
    chosen = replace(chosen, guard=by_images)
    if not parallel.run_on_first(path.exists):
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
        found = _read(
            path, parallel.run_on_first(path.read_text), (SpectralTransition,) if spectral else (Transition, PairTransitions)
        )
    edges = {"edges": list(options.edges)} if options.edges else {}
    found.require({**chosen.context(), **edges})
    return found


def _read(path: Path, text: str, kinds: Sequence[type[SearchResult]]) -> SearchResult:
    """The result of a search that a file holds, of one of these kinds."""
    refused = []
    for kind in kinds:
        try:
            return kind.from_json(text)
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
            yield folder, {"tau": (tau,)}, {**time_fields(chosen.model.process, tau), "search": "given"}


def draw(options: Draw) -> list[Path]:
    """Draws the sets; returns their folders."""
    chosen = setting(options.model, options.attribute, options.values, options)
    if options.batch_size is not None:
        parallel.check_divides(chosen.mesh, options.batch_size, "--batch-size")
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
    method = make_method(options, chosen, guard, points)
    provenance = provenance_of(options, chosen, guard, method, told)
    ends = method.ends(options.count)
    with claimed(
        folder, provenance, chosen.model.conditions.attributes, chosen.labels(ends), chosen.model.space, options.format
    ) as samples:
        seconds = _draw_missing(options, chosen, samples, method, ends)
        write_once(folder, samples.finish)
        if guard:
            summary = parallel.run_on_first(lambda: safety.summary(samples.notes(), gated=options.gated))
            console.print(summary, highlight=False)
        if len(seconds) > 1:
            # the first batch compiles
            write_once(folder, lambda: samples.record_seconds(float(np.median(seconds[1:]))))
        write_once(folder, lambda: _preview(samples))
    console.print(f"written: {folder}, {options.count} images, preview.png")
    return folder


def make_method(options: Draw, chosen: Setting, guard: safety.Guard | None, points: dict[str, Any]) -> methods.Method:
    """The method of the options, with its transition points, if any."""
    taken = {field.name: getattr(options, field.name) for field in fields(methods.Options) if field.name in {*TAKERS, "seed"}}
    return methods.make(options.method, chosen, methods.Options(**{**taken, **points}), guard)


def provenance_of(
    options: Draw, chosen: Setting, guard: safety.Guard | None, method: methods.Method, told: dict[str, Any]
) -> dict[str, Any]:
    """All that the samples are a function of, JSON-ready."""
    return {
        **chosen.context(),
        "model_training": chosen.model.training,
        "method": options.method,
        "seed": options.seed,
        "evaluations": method.evaluations,
        **method.settings,
        **told,
        **(guard.settings if guard else {}),
    }


def _preview(samples: SampleSet) -> None:
    shown = np.stack([samples.image(i) for i in range(min(PREVIEW, len(samples)))])
    write(grid(samples.space.pictures(shown)), samples.path / "preview.png")


@contextmanager
def claimed(folder: Path, *description: Any) -> Iterator[SampleSet]:
    """The set of this description in a folder, which no other run draws into meanwhile. Every process calls it.

    Arguments:
        folder: where it is, or begins.
        description: as of `SampleSet.create`.

    Raises:
        InputError: in every process, where the folder holds another set, is being drawn into, or is not seen by all.
    """

    def opened():
        if not (folder / FILE).is_file():
            raise InputError(f"{folder} is not there: on several machines it must lie where all of them see it")
        return SampleSet.create(folder, *description)

    with ExitStack() as held:
        parallel.run_on_first(lambda: SampleSet.create(folder, *description) and None)
        parallel.run_on_first(lambda: lock(folder / FILE, "being drawn into", held))
        yield parallel.run_on_all(opened)


def _draw_missing(options: Draw, chosen: Setting, samples: SampleSet, method: methods.Method, ends: np.ndarray) -> list[float]:
    """Draws the shards that are missing, dealt to the processes in turn; returns the seconds that an image took, by batch.

    All processes draw as many batches, one in step with the others: one that has no shard left draws some samples again.
    """
    first, processes = jax.process_index(), jax.process_count()
    missing = [tuple(shard) for shard in parallel.run_on_first(samples.missing)]
    there = [shard for shard in samples.shards() if shard not in missing]
    parallel.gather_results(lambda: samples.check(there[first::processes]))
    if not missing:
        return []
    batch = options.batch_size or images_at_once(chosen, method, options.count)
    rows, seconds = batch // processes, []
    left = sum(stop - start for start, stop in missing)
    with progress(f"drawing {samples.path.name}", options.count, done=options.count - left, unit="images") as advance:
        for turn in range(0, len(missing), processes):
            shards = missing[turn : turn + processes]
            start, stop = shards[first] if first < len(shards) else shards[0]
            parts, notes = [], []
            for step in range(max(-(-(end - begin) // rows) for begin, end in shards)):
                # the last batch is filled up, so that one program serves all
                indices, begun = start + step * rows + np.arange(rows, dtype=np.int32), time.monotonic()
                with jax.set_mesh(chosen.mesh):
                    part, note = method.draw(indices, ends[np.minimum(indices, options.count - 1)])
                seconds.append((time.monotonic() - begun) / batch)
                parts.append(part)
                notes.append(note)
                advance(sum(max(0, min(end - begin - step * rows, rows)) for begin, end in shards))

            def keep(start=start, count=stop - start, parts=parts, notes=notes):
                images = np.concatenate(parts)[:count]
                if len(bad := np.flatnonzero(~np.isfinite(images).all(tuple(range(1, images.ndim))))):
                    raise InputError(f"the model returned NaN or infinity in {len(bad)} samples, the first {start + bad[0]}")
                told = {name: np.concatenate([note[name] for note in notes])[:count] for name in notes[0]}
                samples.write(start, chosen.model.space.decode(images), told)

            parallel.gather_results(keep if first < len(shards) else lambda: None)
    return seconds


def method_table() -> str:
    """The methods as a table for `--help`."""
    parts = {"Methods": methods.METHODS, "Guards, round any of them but editing": safety.GUARDS}
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:<16} {about}" for name, about in rows.items())]) for title, rows in parts.items()
    )


assert set(methods.METHODS) == set(get_args(Draw.__annotations__["method"]))
