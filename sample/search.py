"""`python -m sample search`: the transition points of a model."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from jaxdiff import parallel
from jaxdiff._console import arguments, plots
from jaxdiff._console.first import write_once
from jaxdiff._console.terminal import console, working
from jaxdiff.bands import frequency_bands
from jaxdiff.choices import BOUNDARIES, check_boundaries
from jaxdiff.data import load_arrays, open_data
from jaxdiff.errors import InputError
from jaxdiff.fairness import (
    ClassifierFeatures,
    SpectralTransition,
    Transition,
    search_direct,
    search_prefix,
    search_spectral,
    train_image_classifier,
    whitening,
)
from jaxdiff.fairness.transition import PairTransitions, SearchResult, pair_transitions, time_fields
from jaxdiff.guidance.window import ALWAYS
from jaxdiff.phases import boundary_times
from jaxdiff.spaces import require_pixels

from .common import Sampling, Setting, setting
from .safety import BY_IMAGES, BY_LABEL, Guard, Guarding

REFERENCE_COUNT = 4000
EDGES = (1.5, 4.0)
CANDIDATES = tuple(round(0.1 * i, 1) for i in range(1, 11))
Curve = tuple[str, Sequence[float], Sequence[float], float]
"""The name of a search, its times, the criterion there, and the time that it chose."""


@dataclass(frozen=True)
class Search(Sampling, Guarding):
    """Finds the transition point tau at which a switched sample best forgets its attribute.

    `direct` compares the two switched outputs of the same noise: in pixels, in whitened pixels, or in the features of a
    classifier that is trained on real images first. Its tau is the vertex of a parabola through the best point of a grid
    and its two neighbours, which scatters less than the least of many points and may lie beside it. `prefix` is the
    criterion of the paper (--path own --weight beta_eps --norm batch is the authors' own mode). A pixel distance finds the
    wrong tau on real faces; the README shows what each finds. `spectral` finds a tau for each band of frequencies, by the
    same distances (--metric pixel: each within its band). Of more than two values there is one tau for all pairs, or one
    for each (--each-pair). --objective draws and judges sets at several tau, which takes longer, and gives the tau that
    serves a purpose. tau holds for its solver, steps, spacing and guidance scale alone.

    Examples:

      python -m sample search --model runs/faces --attribute group

      python -m sample search --model runs/utkface --attribute gender --reference ~/utkface --value-names gender=male,female

      python -m sample search --model runs/utkface --mode prefix --path own --weight beta_eps --norm batch --out authors.json

      python -m sample search --model runs/faces --mode spectral --edges 1.5 4

      python -m sample search --model runs/faces --objective parity --retain 0.8 --start none

      python -m sample search --model runs/utkface --attribute gender+race --values female+Black female+White male+Black
          male+White --each-pair

      python -m sample search --model runs/faces --attribute group --unsafe private/ --window 0 inf
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    attribute: str | None = None
    """The sensitive attribute, or the combinations of several joined by +; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The values to switch between, two or more; by default all."""
    each_pair: bool = False
    """A tau for each pair of values, in place of one for all."""
    mode: Literal["direct", "prefix", "spectral"] = "direct"
    """The criterion."""
    metric: Literal["pixel", "whitened", "feature"] = "feature"
    """direct, spectral: where the distance looks. whitened and feature look at real images, see --reference."""
    edges: tuple[float, ...] = EDGES
    """spectral: the radii at which bands of frequencies meet, in half-cycles an image."""
    reference: str | None = None
    """Real images for --metric whitened and feature; by default the data that the model was trained on."""
    path: Literal["own", "shared"] = "shared"
    """prefix: each condition on its own trajectory, or both on a shared one."""
    weight: Literal["beta_eps", "g2_score"] = "g2_score"
    """prefix: the weight of the difference."""
    norm: Literal["batch", "sample"] = "sample"
    """prefix: norm over the batch (the authors') or over the sample."""
    objective: Literal["independence", "parity"] | None = None
    """Draw sets at each --tau, judge them, and choose: the tau at which a classifier trained on the set tells the label
    worst, or at which the groups differ least in all other attributes, of those that --retain the label."""
    retain: float = 0.8
    """objective: the least share of images in which a judge sees the label."""
    associated: tuple[str, ...] = ("all",)
    """objective: the other attributes of the reference that are compared, or `all`."""
    tau: tuple[float, ...] = CANDIDATES
    """objective: the candidates."""
    count: int = 512
    """objective: images drawn at each candidate; they are kept beside --out."""
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet that the plot shows."""
    batch: int = 64
    """Noise samples; of more than two values they take the pairs in turn."""
    seed: int = 0
    """Seed of the noise."""
    out: Path | None = None
    """The JSON to write, with a PNG of the curve beside it; by default tau-ATTRIBUTE.json, or
    spectral-ATTRIBUTE.json, in the model's folder; under a guard, whose tau is another, with its digest in the name."""

    def __post_init__(self):
        if self.batch < 1:
            raise InputError(f"--batch must be at least 1, got {self.batch}")
        check_boundaries(self.phases)
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.mode == "direct" and self.steps < 2:
            raise InputError(f"--steps must be at least 2 for --mode direct, got {self.steps}")
        if self.mode != "spectral" and self.edges != EDGES:
            raise InputError(f"--edges is for --mode spectral, got --edges {self.edges} with --mode {self.mode}")
        for name in ("retain", "associated", "tau", "count"):
            if self.objective is None and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise InputError(f"--{name} is for --objective, got --{name} {getattr(self, name)} without one")
        if self.objective and (self.mode != "direct" or self.each_pair):
            raise InputError("--objective is a way to find one tau, got --mode or --each-pair too")
        if self.start == "none" and not self.objective:
            raise InputError("--start none takes --objective: without, a search compares both directions of a switch of values")
        if not 0 <= self.retain <= 1:
            raise InputError(f"--retain must lie in [0, 1], got {self.retain}")
        distinct = {f"{tau:.3f}" for tau in self.tau if 0 <= tau <= 1}
        if not self.tau or len(distinct) < len(self.tau):
            raise InputError(f"--tau takes times in [0, 1] that differ in the third decimal, got {self.tau}")
        if self.count < 16:
            raise InputError(f"--count must be at least 16, got {self.count}")
        self.check(steps_as_ddpm=self.solver == "ddpm")
        if self.guarded and (self.kind in BY_LABEL or self.mode == "spectral"):
            raise InputError(
                f"a search takes guards by images, {', '.join(BY_IMAGES)}, and not --mode spectral; "
                f"got --guard {self.kind}, --mode {self.mode}"
            )
        if self.guarded and not self.objective and self.window != ALWAYS:
            raise InputError(
                "a search under a guard takes --window 0 inf, since an edge and tau may want the same node of the grid; or "
                f"--objective, which draws whole sets; got --window {self.window or 'of the guard'}"
            )
        if self.mode == "spectral" and self.each_pair:
            raise InputError("--each-pair is for --mode direct and prefix, got it with --mode spectral")


def default_path(model: Path, attribute: str, kind: str = "tau", guard: Guard | None = None) -> Path:
    """Where the transition points of an attribute are kept."""
    name = f"{kind}-{attribute}" + (f"-{guard.digest}" if guard else "")
    return (model if model.is_dir() else model.parent) / f"{name}.json"


def guarded(options: Search, chosen: Setting) -> Setting:
    """The setting under the guard that the options ask for, if any."""
    return replace(chosen, guard=Guard(options, chosen)) if options.guarded else chosen


def features(name: str, chosen: Setting, reference: str | None, value_names: tuple[str, ...], seed: int):
    """F of the direct search, whitened pixels or a classifier's features, learnt from real images."""
    if reference is None:
        # the data that the model was trained on, labelled as they were then
        training = chosen.model.training
        reference, value_names = training.get("data"), value_names or tuple(training.get("value_names", ()))
    names, (*size, channels) = arguments.value_names(value_names), require_pixels(chosen.model.space, "the model").shape
    parts = [chosen.model.conditions.attributes[column] for column in chosen.columns]
    wanted = [part.name for part in parts]
    source = open_data(reference, split="train", size=tuple(size), channels=channels, attributes=wanted, value_names=names)
    for found, own in zip(source.attributes, parts, strict=True):
        if found.values != own.values:
            raise InputError(
                f"--reference {reference} names the values of {found.name!r} {found.values}, the model {own.values}"
            )
    images, labels = load_arrays(source, count=min(REFERENCE_COUNT, len(source)), seed=seed)
    positions = np.full(len(chosen.attribute.values), -1)
    positions[list(chosen.values)] = np.arange(len(chosen.values))
    ends = positions[np.ravel_multi_index(tuple(labels.T), [len(part.values) for part in parts])]
    images, ends = images[ends >= 0], ends[ends >= 0].astype(np.int32)
    if name == "whitened":
        return jax.tree.map(jnp.asarray, parallel.broadcast_from_first(whitening(images, ends)))
    classifier = train_image_classifier(images, ends, values=len(chosen.values), seed=seed)
    return ClassifierFeatures(classifier.state, classifier.graph)


def looks_at_real_images(options: Search) -> bool:
    """Whether the search measures its distance in what was learnt from real images."""
    return options.mode != "prefix" and options.metric != "pixel"


def learn(options: Search, chosen: Setting) -> Callable | None:
    """F of a search, learnt from real images; None for one that compares pixels or is of the paper's criterion."""
    if not looks_at_real_images(options):
        return None
    with working(f"learning where to look ({options.metric})"):
        return features(options.metric, chosen, options.reference, options.value_names, options.seed)


def _arguments(options: Search, chosen: Setting) -> dict:
    """What all searches take."""
    return {
        "conditions": tuple(chosen.conditions()),
        "shape": chosen.model.shape,
        "solver": chosen.solver,
        "key": jax.random.key(options.seed),
        "batch": options.batch,
    }


def find_transition(options: Search, chosen: Setting, looks: Callable | None) -> Transition:
    """One tau for all values, with its context attached; `looks` is what `learn` returns for the search."""
    common = _arguments(options, chosen)
    with working("searching tau"), jax.set_mesh(chosen.mesh):
        if options.mode == "prefix":
            kind = {"path": options.path, "weight": options.weight, "norm": options.norm}
            found = search_prefix(chosen.denoise, chosen.model.process, **common, **kind)
        else:
            found = search_direct(chosen.denoise, chosen.model.process, **common, features=looks, metric=options.metric)
    return replace(found, context={**chosen.context(), "seed": options.seed})


def find_pairs(options: Search, chosen: Setting, looks: Callable | None) -> tuple[PairTransitions, list[Curve]]:
    """A tau for each pair of values, and the curves of the searches."""
    found = {
        (a, b): find_transition(options, replace(chosen, values=(chosen.values[a], chosen.values[b])), looks)
        for a, b in combinations(range(len(chosen.values)), 2)
    }
    context = {**chosen.context(), "seed": options.seed}
    curves = [(f"{chosen.names[a]}, {chosen.names[b]}", each.taus, each.curve, each.tau) for (a, b), each in found.items()]
    return pair_transitions(found, values=len(chosen.values), context=context), curves


def find_spectral(options: Search, chosen: Setting, looks: Callable | None) -> SpectralTransition:
    """A tau for each band of frequencies, with its context attached."""
    bands = frequency_bands(chosen.model.shape, options.edges)
    with working("searching a tau for each band"), jax.set_mesh(chosen.mesh):
        found = search_spectral(
            chosen.denoise, chosen.model.process, **_arguments(options, chosen), bands=bands,
            features=looks, metric="bands" if looks is None else options.metric,
        )  # fmt: skip
    return replace(found, context={**chosen.context(), "edges": list(options.edges), "seed": options.seed})


def find(options: Search, chosen: Setting) -> tuple[SearchResult, list[Curve]]:
    """What the search finds, and its curves."""
    looks = learn(options, chosen)
    if options.mode == "spectral":
        found = find_spectral(options, chosen, looks)
        return found, [_of_band(found, band) for band in range(len(found.taus))]
    if options.each_pair:
        return find_pairs(options, chosen, looks)
    found = find_transition(options, chosen, looks)
    return found, [(found.mode, found.taus, found.curve, found.tau)]


def _of_band(found: SpectralTransition, band: int) -> Curve:
    """The best criterion of a band that was found at each of its times."""
    best: dict[float, float] = {}
    for tried, curve in zip(found.tried, found.curves, strict=True):
        best[tried[band]] = min(curve[band], best.get(tried[band], np.inf))
    return f"band {band + 1}", sorted(best), [best[tau] for tau in sorted(best)], found.taus[band]


def search(options: Search) -> SearchResult:
    """Searches, prints tau and writes the curve."""
    chosen = guarded(options, setting(options.model, options.attribute, options.values, options))
    kind = "spectral" if options.mode == "spectral" else "tau"
    out = options.out or default_path(options.model, chosen.attribute.name, kind, chosen.guard)
    found, curves = find(options, chosen)
    tell(options, chosen, out, found, curves)
    return found


def tell(options: Search, chosen: Setting, out: Path, found: SearchResult, curves: Sequence[Curve]) -> None:
    """Writes what was found, and prints it."""
    write(out, found, curves, chosen, options.phases)
    console.print(_table(found, chosen))
    console.print(f"{found.mode}, {found.batch} noise samples, {found.evaluations} evaluations each", highlight=False)
    console.print(f"written: {out} and {out.with_suffix('.png').name}")


def _table(found: SearchResult, chosen: Setting) -> Table:
    """The points that were found, a row for each."""
    match found:
        case Transition():
            rows = [(found.mode, found.tau, found.residual)]
        case PairTransitions():
            pairs = combinations(range(len(chosen.values)), 2)
            rows = [(f"{chosen.names[a]}, {chosen.names[b]}", found.tau[a][b], found.residual[a][b]) for a, b in pairs]
        case SpectralTransition():
            edges = [f"{edge:g}" for edge in found.context["edges"]]
            between = [f"{low} to {high}" for low, high in pairwise(edges)]
            ranges = [f"below {edges[0]}", *between, f"above {edges[-1]}"]
            names = [f"band {k}, {told}" for k, told in enumerate(ranges, 1)]
            rows = list(zip(names, found.taus, found.residual, strict=True))
    table = Table(title=f"transition point of {chosen.attribute.name!r}", title_justify="left")
    for name in ("", "tau", "residual", "timestep", "SNR"):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for name, tau, residual in rows:
        at = time_fields(chosen.model.process, tau)
        snr = "infinite" if at["snr"] is None else f"{at['snr']:.3g}"
        table.add_row(name, f"{tau:.3f}", f"{residual:.3f}", f"{at['timestep']} of {chosen.model.process.timesteps}", snr)
    return table


def write(
    out: Path, found: SearchResult, curves: Sequence[Curve], chosen: Setting, boundaries: Sequence[float] = BOUNDARIES
) -> None:
    """Writes what was found as JSON and its curves as PNG, with the phases of noise that meet at these SNR."""

    def written():
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".partial")
        partial.write_text(found.to_json())
        os.replace(partial, out)
        plots.transition(
            out.with_suffix(".png"),
            curves,
            f"search for tau, {chosen.attribute.name} ({' / '.join(chosen.names)})",
            boundary_times(chosen.model.process, boundaries),
        )

    write_once(out, written)
