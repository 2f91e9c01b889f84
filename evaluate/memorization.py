"""`python -m evaluate memorization`: which training images synthetic images repeat, beside what real images do by chance."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff._console import arguments
from jaxdiff._console.first import write_once
from jaxdiff._console.hosts import Processes
from jaxdiff._console.terminal import console, progress, working
from jaxdiff.data import Source, load_arrays, open_data
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.safety.duplicates import find_duplicates
from jaxdiff.safety.membership import DRAWS, FALSE_POSITIVES, TIME
from jaxdiff.safety.memorization import ALPHA, NEIGHBOURS, closeness, images_at_risk, measure_memorization, near_distance

from . import memorization_report as report
from .conditions import require_condition
from .membership import attack
from .memorization_report import Audit, Audited
from .provenance import provenance
from .sources import Fitted, require_one_size

LEAST = int(1 / FALSE_POSITIVES)
"""Held-out images without which no share of false positives is as low as `FALSE_POSITIVES`."""


@dataclass(frozen=True)
class Memorization(Fitted, Processes):
    """Measures what synthetic images repeat of the training images, and which of these are at risk.

    An image's ratio is its distance to the nearest training image, divided by --alpha times the mean distance to the
    --neighbours nearest (Carlini et al. 2023): below 1 it counts as memorised. Real images that were held out stand beside
    it as the control, since some of them are below 1 too; what counts is the excess. Writes memorization.json and
    memorization.md; closest.png, the closest pairs; and at_risk.npz, the training images that were repeated, as a data set.

    For example:

      python -m evaluate memorization --samples out/vanilla --train embedded --out out/memorization

      python -m evaluate memorization --samples out/vanilla out/safe --train embedded --model runs/faces --out out/before-after

      python -m evaluate memorization --samples samples.npz --train ~/utkface --value-names gender=male,female --size 32
          --no-flips --out out/memorization

    With --model it also attacks the model: whether its loss tells training images from held-out ones. --times are the times at
    which the loss is taken:

      python -m evaluate memorization --samples out/vanilla --train embedded --model runs/faces --times 0.05 0.1 0.3
          --members 2000 --out out/memorization
    """

    samples: tuple[str, ...]
    """Sets to judge, in the order of the report: folders of samples, folders or .zip files with labels.csv, .npz files."""
    out: Path
    """Folder of the report; an older report there is replaced."""
    train: str = "embedded"
    """What the model was trained on: `embedded`, a folder, .zip, .npz or tfds:NAME. All images of --split are searched."""
    split: Literal["train", "validation", "test", "all"] = "train"
    """The split that the model was trained on."""
    held_out: Literal["train", "validation", "test"] = "test"
    """The split of --train that the model was not trained on: the control, and the attack's non-members."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of --train, of folders, .zip and .npz files, e.g. gender=male,female."""
    count: int = 10_000
    """Most images used of each set; more are drawn from by --seed."""
    neighbours: int = NEIGHBOURS
    """Nearest training images whose mean distance the nearest one's is divided by."""
    alpha: float = ALPHA
    """The factor of that mean."""
    flips: bool = True
    """Count mirror images of training images too, as a model knows them that was trained on mirrored images."""
    duplicates: float | None = None
    """Grey levels (root mean square) within which training images are duplicates, which count as one neighbour; by default half
    of the quantile .01 of the distances from held-out to training images. 0: only equal ones."""
    model: Path | None = None
    """Folder of a run, or a model.safetensors: make the membership attack on it."""
    times: tuple[float, ...] = (TIME,)
    """With --model: times of the attack, in (0, 1]."""
    draws: int = DRAWS
    """With --model: noises that a loss is the mean over."""
    members: int = 1000
    """With --model: training images, and as many held-out ones, that are attacked; fewer where there are fewer."""
    condition: Literal["own", "null"] = "own"
    """With --model: losses under an image's own labels, or under no label, for data with or without labels."""
    batch_size: int = 64
    """With --model: images at once; the result does not depend on it, up to rounding."""
    seed: int = 0
    """Seed of everything: which images, the noise of the attack, its bootstrap."""

    def __post_init__(self):
        arguments.image_size(self.size)
        for name, least in (("count", 1), ("neighbours", 2), ("draws", 1), ("members", LEAST), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if not self.alpha > 0:
            raise InputError(f"--alpha must be above 0, got {self.alpha}")
        if self.duplicates is not None and not self.duplicates >= 0:
            raise InputError(f"--duplicates must be at least 0 grey levels, got {self.duplicates}")
        if not self.times or not all(0 < t <= 1 for t in self.times):
            raise InputError(f"--times takes times in (0, 1], got {' '.join(map(str, self.times)) or 'none'}")
        if not self.samples or len(set(self.samples)) != len(self.samples):
            raise InputError(f"--samples must name one set or more, all distinct, got {' '.join(self.samples) or 'none'}")
        if self.split in (self.held_out, "all"):
            raise InputError(f"--held-out must be a split that is not in --split {self.split}, got {self.held_out}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")


def memorization(options: Memorization) -> Audit:
    """Measures, prints the tables and writes the report."""
    start = time.monotonic()
    model = load(options.model) if options.model else None
    sources, train_source, other_source = _open(options, model)
    largest = max(min(len(source), options.count) for source in sources.values())
    with working("reading images"):
        train, labels = load_arrays(train_source)
        wanted = max(largest, options.members) if model else largest
        others, other_labels = load_arrays(other_source, count=min(wanted, len(other_source)), seed=options.seed)
        sets = {
            name: load_arrays(source, count=min(len(source), options.count), seed=options.seed)[0]
            for name, source in sources.items()
        }
    with working("looking for duplicates"):
        within = options.duplicates
        if within is None:
            within = near_distance(train, others, flips=options.flips)
        duplicates = find_duplicates(train, distance=within, flips=options.flips)
    with progress("looking for neighbours", len(others) + sum(map(len, sets.values())), unit="images") as advance:
        how = {"neighbours": options.neighbours, "alpha": options.alpha, "flips": options.flips, "advance": advance}
        control = closeness(others, train, duplicates, **how)
        near = {name: closeness(images, train, duplicates, **how) for name, images in sets.items()}
    risk = images_at_risk(list(near.values()))
    attacks = []
    if model:
        apart = np.flatnonzero(control.distance > 0)  # the others are training images
        members = np.random.default_rng(options.seed).permutation(len(train))[: min(options.members, len(apart))]
        apart = apart[: len(members)]
        attacks = attack(
            options, model, (train_source, train[members], labels[members]), (other_source, others[apart], other_labels[apart])
        )
    audit = Audit(
        sets=[Audited(name, sets[name], each, measure_memorization(each, control)) for name, each in near.items()],
        control=Audited(other_source.name, others[:largest], control.take(np.arange(min(largest, len(others)))), None),
        train=(train_source.name, train, duplicates),
        risk=risk,
        attacks=attacks,
        context={
            **({"model": model.fingerprint, "model_training": model.training} if model else {}),
            **provenance(options),
            "seconds": round(time.monotonic() - start, 1),
        },
    )
    report.show(audit, console)

    def write():
        report.write(audit, options.out)
        write_at_risk(options.out / "at_risk.npz", train_source, train, labels, risk)

    write_once(options.out, write)
    told = f"; at_risk.npz, {len(risk)} training images" if len(risk) else "; no training image is at risk, so no at_risk.npz"
    console.print(f"wrote {options.out}/memorization.json, memorization.md and closest.png{told}", highlight=False)
    return audit


def _open(options: Memorization, model: Model | None) -> tuple[dict[str, Source], Source, Source]:
    """The sets by name, the training images and the held-out ones; nothing is decoded yet but the first image of each."""
    fitting = options.fitting_of(model, options.model) if model else options.fitting
    given = arguments.value_names(options.value_names)
    known, others = (
        open_data(options.train, split=split, **fitting, value_names=given) for split in (options.split, options.held_out)
    )
    if model:
        require_condition(model, known, own=options.condition == "own")
    if len(known) < options.neighbours:
        raise InputError(f"--neighbours {options.neighbours} needs as many training images; {known.name} has {len(known)}")
    if model and len(others) < LEAST:
        raise InputError(f"the membership attack needs at least {LEAST} held-out images; {others.name} has {len(others)}")
    ambiguous = len({Path(spec).name for spec in options.samples}) < len(options.samples)
    sources = {
        spec if ambiguous else Path(spec).name: open_data(spec, split="all", **fitting) for spec in options.samples
    }  # fmt: skip
    require_one_size([known, others, *sources.values()])
    return sources, known, others


def write_at_risk(
    path: Path, source: Source, train: UInt8[np.ndarray, "n h w 3"], labels: Int[np.ndarray, "n a"], risk: Int[np.ndarray, " k"]
) -> None:
    """Writes training images as a data set, as `jaxdiff.data.npz` reads it, with their `index` in the training split; no file,
    and none from before, where there are none."""
    if not len(risk):
        path.unlink(missing_ok=True)
        return
    arrays: dict[str, Any] = {"images": train[risk], "split": np.full(len(risk), "train"), "index": risk}
    if source.attributes:
        arrays |= {"labels": labels[risk], "attributes": [attribute.name for attribute in source.attributes]}
        arrays |= {f"values_{attribute.name}": list(attribute.values) for attribute in source.attributes}
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as opened:
        np.savez(opened, **arrays)
    os.replace(partial, path)
