"""`jaxdiff sample search`: searches the transition points of a model."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from jaxdiff import parallel
from jaxdiff._console import arguments, plots
from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import Reading, show_data
from jaxdiff._console.terminal import console, working
from jaxdiff.bands import frequency_bands
from jaxdiff.choices import BOUNDARIES
from jaxdiff.data import load_arrays
from jaxdiff.data.shown import open_shown
from jaxdiff.errors import InputError
from jaxdiff.fairness import (
    AfterDecoding,
    ClassifierFeatures,
    SpectralTransition,
    Transition,
    search_direct,
    search_prefix,
    search_spectral,
    whitening,
)
from jaxdiff.fairness.transition import PairTransitions, SearchResult, pair_transitions, time_fields
from jaxdiff.finished import Finished, checksum, key_of, once_json
from jaxdiff.image_classifier import classifier_key, train_once
from jaxdiff.phases import boundary_times
from jaxdiff.writing import write_text

from .options import Search
from .setting import Setting, setting
from .transitions import default_path

REFERENCE_COUNT = 4000
Curve = tuple[str, Sequence[float], Sequence[float], float]
"""Name, times, criterion at these times, and the resulting tau of a search."""


def reference_reading(options: Reading, reference: str | None, training: Mapping[str, Any]) -> dict[str, Any]:
    """How reference data are read, arguments of `open_data`: the model's training data as in training, unless options say
    otherwise."""
    own = {} if reference else training
    low_high = options.range or own.get("range")
    return {
        "value_names": arguments.value_names(options.value_names or own.get("value_names", ())),
        "layout": options.layout or own.get("layout"),
        "range": low_high and tuple(low_high),
        "links": options.follow_links,
    }


def reference_features(name: str, chosen: Setting, options: Search, finished: Finished | None):
    """The feature map of the direct search, fitted to real images: whitened pixels, or a classifier's features."""
    training = chosen.model.training
    reference = options.reference or training.get("data")
    reading = reference_reading(options, options.reference, training)
    parts = [chosen.model.conditions.attributes[column] for column in chosen.columns]
    wanted = [part.name for part in parts]
    space = chosen.model.space
    source = open_shown(reference, space, split="train", attributes=wanted, training=training, **reading)
    show_data(source)
    for found, own in zip(source.attributes, parts, strict=True):
        if set(found.values) != set(own.values):
            raise InputError(
                f"{source.name} has the values {', '.join(found.values)} of {found.name!r}, but the model has "
                f"{', '.join(own.values)}; --value-names names the values, --reference takes other images"
            )
    images, labels = load_arrays(source, count=min(REFERENCE_COUNT, len(source)), seed=options.seed)
    positions = np.full(len(chosen.attribute.values), -1)
    positions[list(chosen.values)] = np.arange(len(chosen.values))
    # the data may have the model's values in another order
    orders = [[part.index(value) for value in found.values] for found, part in zip(source.attributes, parts, strict=True)]
    labels = tuple(np.array(order)[column] for order, column in zip(orders, labels.T, strict=True))
    ends = positions[np.ravel_multi_index(labels, [len(part.values) for part in parts])]
    images, ends = images[ends >= 0], ends[ends >= 0].astype(np.int32)
    if name == "whitened":
        found = whitening(space.shown.encode(images), ends)
        return jax.tree.map(jnp.asarray, parallel.broadcast_from_first(found))
    how = {"values": len(chosen.values), "seed": options.seed}
    classifier = train_once(finished, classifier_key(checksum((images, ends)), **how), images, ends, **how)
    return ClassifierFeatures(classifier.state, classifier.graph)


def needs_reference(options: Search) -> bool:
    """Whether the search measures distances with features fitted to real images."""
    return options.mode != "prefix" and options.metric not in ("pixel", "latent")


def check_metric(options: Search, chosen: Setting) -> None:
    """Raises `InputError` if the metric of a search is not for this model, or needs real images and none are named."""
    latents = chosen.model.space.decoding is not None
    if options.metric == "latent" and not latents:
        raise InputError("--metric latent is for models of latents, such as text-to-image models; use --metric pixel")
    if options.mode == "spectral" and options.metric == "pixel" and latents:
        raise InputError("--mode spectral finds bands of latents in this model: use --metric latent or feature, got pixel")
    if needs_reference(options) and options.metric == "feature" and not chosen.model.space.shown.image_files:
        raise InputError(
            f"--metric feature is that of a classifier of images, and this model is one of {chosen.model.space.shown.array}: "
            "use --metric whitened or pixel"
        )
    if needs_reference(options) and not (options.reference or chosen.model.training.get("data")):
        raise InputError(
            f"--metric {options.metric} needs real images, and the model does not record its training data: name real images "
            "with --reference of `jaxdiff sample search` or `sweep`, or search with --metric pixel or --mode prefix"
        )


def search_features(options: Search, chosen: Setting, finished: Finished | None = None) -> Callable | None:
    """The feature map of a search, of what is seen of a sample; None where distances are those of the samples themselves.
    `finished` keeps what is trained for it.

    Raises:
        InputError: see `check_metric`, or the real images do not fit.
    """
    check_metric(options, chosen)
    decoding = chosen.model.space.decoding
    if options.mode == "prefix" or options.metric == "latent":
        return None
    if not needs_reference(options):
        return None if decoding is None else AfterDecoding(decoding)
    with working(f"fitting the {options.metric} metric to real images"):
        features = reference_features(options.metric, chosen, options, finished)
    return features if decoding is None else AfterDecoding(decoding, features)


def _arguments(options: Search, chosen: Setting) -> dict:
    """Arguments of all search functions."""
    rows = chosen.conditions()
    return {
        "conditions": tuple(jax.tree.map(lambda leaf, value=value: leaf[value], rows) for value in range(len(chosen.values))),
        "shape": chosen.model.shape,
        "solver": chosen.solver,
        "key": jax.random.key(options.seed),
        "batch": options.batch,
    }


def find_transition(options: Search, chosen: Setting, features: Callable | None) -> Transition:
    """One tau for all values, with its context; `features` is the result of `search_features` for this search."""
    common = _arguments(options, chosen)
    with working("searching tau"), jax.set_mesh(chosen.mesh):
        if options.mode == "prefix":
            kind = {"path": options.path, "weight": options.weight, "norm": options.norm}
            found = search_prefix(chosen.denoise, chosen.model.process, **common, **kind)
        else:
            found = search_direct(chosen.denoise, chosen.model.process, **common, features=features, metric=options.metric)
    return replace(found, context={**chosen.context(), "seed": options.seed})


def find_pairs(
    options: Search, chosen: Setting, features: Callable | None, finished: Finished | None
) -> tuple[PairTransitions, list[Curve]]:
    """A tau for each pair of values, each of which is kept, and the curves of the searches."""
    how = {name: getattr(options, name) for name in ("mode", "metric", "path", "weight", "norm", "batch", "seed")}

    def find(a: int, b: int) -> Transition:
        own = replace(chosen, values=(chosen.values[a], chosen.values[b]))
        key = key_of("pair", json.dumps([how, own.context()]), features)
        return Transition.from_json(once_json(finished, key, lambda: find_transition(options, own, features).to_json()))

    found = {(a, b): find(a, b) for a, b in combinations(range(len(chosen.values)), 2)}
    context = {**chosen.context(), "seed": options.seed}
    curves = [(f"{chosen.names[a]}, {chosen.names[b]}", each.taus, each.curve, each.tau) for (a, b), each in found.items()]
    return pair_transitions(found, values=len(chosen.values), context=context), curves


def find_spectral(options: Search, chosen: Setting, features: Callable | None) -> SpectralTransition:
    """A tau for each frequency band, with its context."""
    bands = frequency_bands(chosen.model.shape, options.edges)
    with working("searching tau for each band"), jax.set_mesh(chosen.mesh):
        found = search_spectral(
            chosen.denoise, chosen.model.process, **_arguments(options, chosen), bands=bands,
            features=features, metric="bands" if features is None else options.metric,
        )  # fmt: skip
    return replace(found, context={**chosen.context(), "edges": list(options.edges), "seed": options.seed})


def find(options: Search, chosen: Setting, finished: Finished | None = None) -> tuple[SearchResult, list[Curve]]:
    """The search result and its curves; `finished` keeps what it is made of."""
    features = search_features(options, chosen, finished)
    if options.mode == "spectral":
        found = find_spectral(options, chosen, features)
        return found, [_band_curve(found, band) for band in range(len(found.taus))]
    if options.each_pair:
        return find_pairs(options, chosen, features, finished)
    found = find_transition(options, chosen, features)
    return found, [(found.mode, found.taus, found.curve, found.tau)]


def _band_curve(found: SpectralTransition, band: int) -> Curve:
    """The curve of a band: the least criterion found at each of its times."""
    best: dict[float, float] = {}
    for tried, curve in zip(found.tried, found.curves, strict=True):
        best[tried[band]] = min(curve[band], best.get(tried[band], np.inf))
    return f"band {band + 1}", sorted(best), [best[tau] for tau in sorted(best)], found.taus[band]


def search(options: Search) -> SearchResult:
    """Runs the search, prints tau, and writes the result and its curve."""
    chosen = setting(options.model, options.attribute, options.values, options, start=options.start)
    out = options.out or default_path(options.model, chosen, "spectral" if options.mode == "spectral" else "tau")
    with kept_parts(out) as finished:
        found, curves = find(options, chosen, finished)
        show(options, chosen, out, found, curves)
    return found


def show(options: Search, chosen: Setting, out: Path, found: SearchResult, curves: Sequence[Curve]) -> None:
    """Writes and prints a search result."""
    write(out, found, curves, chosen, options.phases)
    console.print(_table(found, chosen))
    decoded = _decoded(options, chosen, found)
    per_sample = f"{found.evaluations} evaluations{f' and {decoded} decoded images' if decoded else ''} per sample"
    console.print(f"{found.mode}: {found.batch} noise samples, {per_sample}", highlight=False)
    console.print(f"written: {out} and {out.with_suffix('.png').name}")


def _decoded(options: Search, chosen: Setting, found: SearchResult) -> int:
    """The images that a search decodes per noise sample: two for each point of time that it tries."""
    seen = options.mode != "prefix" and options.metric != "latent" and chosen.model.space.decoding is not None
    match found:
        case Transition() if seen:
            return 2 * len(found.taus)
        case SpectralTransition() if seen:
            return 2 * len(found.tried)
        case _:
            return 0


def _table(found: SearchResult, chosen: Setting) -> Table:
    """The table of transition points, one row each."""
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
            names = [f"band {k}, {edges}" for k, edges in enumerate(ranges, 1)]
            rows = list(zip(names, found.taus, found.residual, strict=True))
    table = Table(title=f"transition point of {chosen.name!r}", title_justify="left")
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
    """Writes a search result as JSON, and its curves as PNG with the noise phases separated at these SNR."""

    def written():
        write_text(out, found.to_json())
        plots.transition(
            out.with_suffix(".png"),
            curves,
            f"search for tau, {chosen.name} ({' / '.join(chosen.names)})",
            boundary_times(chosen.model.process, boundaries),
        )

    write_once(out, written)
