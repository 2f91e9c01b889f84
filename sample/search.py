"""`python -m sample search`: the transition point of a model."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from rich.table import Table

from console import arguments, plots
from console.terminal import console, working
from jaxdiff.data import load_arrays, open_data
from jaxdiff.errors import InputError
from jaxdiff.fairness import ClassifierFeatures, Transition, search_direct, search_prefix, train_classifier, whitening
from jaxdiff.phases import BOUNDARIES, boundary_times
from jaxdiff.phases import check as check_phases
from jaxdiff.process import from_config
from sample.common import Sampling, Setting, setting

METRICS = ("pixel", "whitened", "feature")
REFERENCE_COUNT = 4000


@dataclass(frozen=True)
class Search(Sampling):
    """Finds the transition point tau at which a switched sample best forgets its attribute.

    `direct` compares the two switched outputs of the same noise: in pixels, in whitened pixels, or in the features of a
    classifier that is trained on real images first. `prefix` is the criterion of the paper (--path own --weight
    beta_eps --norm batch is the authors' own mode). A pixel distance finds the wrong tau on real faces; the README
    shows what each finds. tau holds for its solver, steps, spacing and guidance scale alone.

    Examples:

      python -m sample search --model runs/faces --attribute group

      python -m sample search --model runs/utkface --attribute gender --reference ~/utkface --value-names gender=male,female

      python -m sample search --model runs/utkface --mode prefix --path own --weight beta_eps --norm batch --out authors.json
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    attribute: str | None = None
    """The sensitive attribute; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The two values to switch between; by default both of a binary attribute."""
    mode: Literal["direct", "prefix"] = "direct"
    """The criterion."""
    metric: Literal["pixel", "whitened", "feature"] = "feature"
    """direct: where the distance looks. whitened and feature look at real images, see --reference."""
    reference: str | None = None
    """Real images for --metric whitened and feature; by default the data that the model was trained on."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of the reference, e.g. gender=male,female."""
    path: Literal["own", "shared"] = "shared"
    """prefix: each condition on its own trajectory, or both on a shared one."""
    weight: Literal["beta_eps", "g2_score"] = "g2_score"
    """prefix: the weight of the difference."""
    norm: Literal["batch", "sample"] = "sample"
    """prefix: norm over the batch (the authors') or over the sample."""
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet that the plot shows."""
    batch: int = 64
    """Noise samples."""
    seed: int = 0
    """Seed of the noise."""
    out: Path | None = None
    """The JSON to write, with a PNG of the curve beside it; by default tau-ATTRIBUTE.json in the model's folder."""

    def __post_init__(self):
        if self.batch < 1:
            raise InputError(f"--batch must be at least 1, got {self.batch}")
        check_phases(self.phases)
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.mode == "direct" and self.steps < 2:
            raise InputError(f"--steps must be at least 2 for --mode direct, got {self.steps}")


def default_path(model: Path, attribute: str) -> Path:
    """Where the transition of an attribute is kept."""
    return (model if model.is_dir() else model.parent) / f"tau-{attribute}.json"


def features(name: str, chosen: Setting, reference: str | None, value_names: tuple[str, ...], seed: int):
    """F of the direct search, whitened pixels or a classifier's features, learnt from real images."""
    if reference is None:
        # the data that the model was trained on, labelled as they were then
        training = chosen.model.training
        reference, value_names = training.get("data"), value_names or tuple(training.get("value_names", ()))
    names, size = arguments.value_names(value_names), chosen.model.shape[0]
    source = open_data(reference, split="train", size=size, attributes=[chosen.attribute.name], value_names=names)
    found = source.attributes[0]
    if found.values != chosen.attribute.values:
        raise InputError(
            f"--reference {reference} names the values of {found.name!r} {found.values}, the model {chosen.attribute.values}"
        )
    images, labels = load_arrays(source, count=min(REFERENCE_COUNT, len(source)), seed=seed)
    kept = np.isin(labels[:, 0], chosen.pair)
    images, labels = images[kept], (labels[kept, 0] == chosen.pair[1]).astype(np.int32)
    if name == "whitened":
        return whitening(images, labels)
    classifier = train_classifier(images, labels, values=2, seed=seed)
    return ClassifierFeatures(classifier.state, classifier.graph)


def looks_at_real_images(options: Search) -> bool:
    """Whether the search measures its distance in what was learnt from real images."""
    return options.mode == "direct" and options.metric != "pixel"


def learn(options: Search, chosen: Setting) -> Callable | None:
    """F of a search, learnt from real images; None for one that compares pixels or is not direct."""
    if not looks_at_real_images(options):
        return None
    with working(f"learning where to look ({options.metric})"):
        return features(options.metric, chosen, options.reference, options.value_names, options.seed)


def find_transition(options: Search, chosen: Setting, looks: Callable | None) -> Transition:
    """The search itself, with its context attached; `looks` is what `learn` returns for it."""
    key = jax.random.key(options.seed)
    common = {
        "pair": tuple(chosen.condition(np.array([value]))[0] for value in chosen.pair),
        "shape": chosen.model.shape,
        "solver": chosen.solver,
        "key": key,
        "batch": options.batch,
    }
    if options.mode == "prefix":
        common |= {"path": options.path, "weight": options.weight, "norm": options.norm}
        with working("searching tau"):
            found = search_prefix(chosen.denoise, chosen.model.process, **common)
    else:
        with working("searching tau"):
            found = search_direct(chosen.denoise, chosen.model.process, **common, features=looks, metric=options.metric)
    return replace(found, context={**chosen.context(), "seed": options.seed})


def search(options: Search) -> Transition:
    """Searches, prints tau and writes the curve."""
    chosen = setting(options.model, options.attribute, options.values, options)
    out = options.out or default_path(options.model, chosen.attribute.name)
    found = find_transition(options, chosen, learn(options, chosen))
    write(out, found, options.phases)
    table = Table(title=f"transition point of {chosen.attribute.name!r}", title_justify="left")
    for name in ("mode", "tau", "timestep", "SNR", "residual", "evaluations", "batch"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_row(
        found.mode,
        f"{found.tau:.3f}",
        f"{found.timestep} of {chosen.model.process.timesteps}",
        "infinite" if found.snr is None else f"{found.snr:.3g}",
        f"{found.residual:.3f}",
        str(found.evaluations),
        str(found.batch),
    )
    console.print(table)
    console.print(f"written: {out} and {out.with_suffix('.png').name}")
    return found


def write(out: Path, found: Transition, boundaries: Sequence[float] = BOUNDARIES) -> None:
    """Writes the transition as JSON and its curve as PNG, with the phases of noise that meet at these SNR."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_text(found.to_json())
    os.replace(partial, out)
    plots.transition(
        out.with_suffix(".png"),
        [(found.mode, found.taus, found.curve, found.tau)],
        f"search for tau, {found.context['attribute']} ({' / '.join(found.context['pair'])})",
        boundary_times(from_config(found.context["process"]), boundaries),
    )
