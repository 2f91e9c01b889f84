"""`python -m evaluate fairness`: what classifiers and distances find of an attribute in synthetic images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console import arguments
from console.terminal import console, progress
from evaluate import report
from evaluate.provenance import provenance
from evaluate.report import Judged
from jaxdiff.data import Source, find, load_arrays, open_data
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.fairness.judge import LabelledImages, Training, judge


@dataclass(frozen=True)
class Fairness:
    """Judges how much of an attribute is left in synthetic images, whoever drew them.

    Small classifiers are trained on each set and tested on others, in three directions (synthetic->real, real->synthetic and,
    held out, synthetic->synthetic), and the two groups of each set are compared by their energy distance. Writes
    report.json, report.md and report.png.

    For example:

      python -m evaluate fairness --synthetic out/vanilla out/mixing out/switching --attribute group --out report

      python -m evaluate fairness --synthetic samples.npz --real ~/utkface --size 32 --attribute gender
          --value-names gender=male,female --out report

      python -m evaluate fairness --synthetic out/a out/b --real "tfds:fair_face_manual?manual_dir=~/fairface"
          --attribute race --values Black White --out report
    """

    synthetic: tuple[str, ...]
    """Sets to judge, in the order of the report: folders of samples, folders or .zip files with labels.csv, .npz files."""
    attribute: str
    """The attribute; a set's labels are what its images were drawn as (switching: the final condition)."""
    out: Path
    """Folder of the report; an older report there is replaced."""
    real: str = "embedded"
    """Real images: `embedded`, a folder, .zip, .npz or tfds:NAME. Its splits train and test are used."""
    values: tuple[str, ...] = ()
    """Two or more of the attribute's values: images of others are left out. By default all values of the real images."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of folders, .zip and .npz files, e.g. gender=male,female."""
    size: int | None = None
    """Pixels a side that all images are brought to; by default they are left as they are and must agree."""
    seeds: int = 3
    """Classifiers trained on each set."""
    train_count: int | None = None
    """Images that every classifier is trained on; by default as many as the smallest set can give (half of a synthetic set)."""
    test_count: int = 10_000
    """Most images used of a synthetic set, and of the real test images; more are drawn from by --seed."""
    steps: int = Training.steps
    """Optimiser steps of every classifier."""
    batch: int = Training.batch
    """Images a step."""
    flip: bool = True
    """Mirror half of the training images; wrong for digits and letters."""
    replicates: int = 1000
    """Bootstrap replicates of the 95 % intervals."""
    permutations: int = 199
    """Permutations of the energy test; its least p-value is 1 / (1 + permutations)."""
    seed: int = 0
    """Seed of everything: halves, classifiers, bootstrap, permutations."""

    def __post_init__(self):
        for name in ("seeds", "test_count", "steps", "batch", "replicates", "permutations"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if not self.synthetic:
            raise InputError("--synthetic takes one set or more, got none")
        if len(set(self.synthetic)) != len(self.synthetic):
            raise InputError(f"--synthetic must name distinct sets, got {' '.join(self.synthetic)}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")


def fairness(options: Fairness) -> Judged:
    """Judges the sets, prints the tables and writes the report."""
    start = time.monotonic()
    values, sources = _open(options)
    sets = _load(options, values, sources)
    total = (len(options.synthetic) + 1) * (options.seeds + 1)
    with progress("judging", total) as advance:
        judgement = judge(
            sets[options.real, "train"],
            sets[options.real, "test"],
            [sets[spec, "all"] for spec in options.synthetic],
            values=len(values),
            seeds=options.seeds,
            seed=options.seed,
            train_count=options.train_count,
            training=Training(steps=options.steps, batch=options.batch, flip=options.flip),
            replicates=options.replicates,
            permutations=options.permutations,
            progress=lambda note, done, _: advance(min(done, 1), note=note),
        )
    context = {**provenance(options), "seconds": round(time.monotonic() - start, 1)}
    judged = Judged(judgement, options.attribute, values, context)
    report.show(judged, console)
    report.write(judged, options.out)
    console.print(f"wrote {options.out}/report.json, report.md and report.png", highlight=False)
    return judged


def _open(options: Fairness) -> tuple[tuple[str, ...], dict[tuple[str, str], Source]]:
    """The values under judgement, and the sources by (spec, split); nothing is decoded yet but the first image of each."""
    wanted = [(options.real, "train"), (options.real, "test"), *((spec, "all") for spec in options.synthetic)]
    sources = {key: _source(options, *key) for key in wanted}
    known = {key: source.attributes[find(source.attributes, options.attribute)].values for key, source in sources.items()}
    values = options.values or known[options.real, "train"]
    if len(values) < 2 or len(set(values)) != len(values):
        raise InputError(f"--values takes two or more distinct values of {options.attribute!r}, got {', '.join(values)}")
    for key, names in known.items():
        unknown = set(values) - set(names) if options.values else set(values) ^ set(names)
        if unknown:
            raise InputError(
                f"attribute {options.attribute!r} of {sources[key].name} has the values {', '.join(names)}, "
                f"not {', '.join(values)}; --values chooses values, --value-names names integer labels"
            )
    sizes = {source.name: "x".join(map(str, source.image(0).shape[:2])) for source in sources.values() if len(source)}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise InputError(f"images must have one size: {told}; --size resizes them")
    return values, sources


def _source(options: Fairness, spec: str, split: str) -> Source:
    path = Path(spec)
    # A set of samples and tfds name their values themselves.
    tabular = path.suffix in (".npz", ".zip") or (path.is_dir() and not (path / "samples.json").is_file())
    names = arguments.value_names(options.value_names) if tabular else None
    return open_data(spec, split=split, size=options.size, attributes=[options.attribute], value_names=names)


def _load(
    options: Fairness, values: Sequence[str], sources: Mapping[tuple[str, str], Source]
) -> dict[tuple[str, str], LabelledImages]:
    """The images of every source, with labels that count within `values`; no more than can be used."""
    kept = {}
    for key, source in sources.items():
        names = source.attributes[0].values
        recoded = np.array([values.index(name) if name in values else -1 for name in names])[source.labels[:, 0]]
        kept[key] = np.flatnonzero(recoded >= 0), recoded
        absent = [name for code, name in enumerate(values) if not (recoded == code).any()]
        if absent:
            raise InputError(f"{source.name} has no image whose {options.attribute} is {' or '.join(absent)}")
    largest = max(min(len(kept[spec, "all"][0]), options.test_count) for spec in options.synthetic)
    train_count = options.train_count or max(1, largest // 2)
    ambiguous = len({Path(spec).name for spec in options.synthetic}) < len(options.synthetic)
    sets = {}
    with progress("reading images", len(sources)) as advance:
        for key, source in sources.items():
            indices, recoded = kept[key]
            count = train_count if key[1] == "train" else options.test_count
            chosen = indices[np.random.default_rng(options.seed).permutation(len(indices))[:count]]
            images, _ = load_arrays(View(source, indices=chosen))
            name = source.name if key[1] != "all" else key[0] if ambiguous else Path(key[0]).name
            sets[key] = LabelledImages(name, images, recoded[chosen])
            advance(note=source.name)
    return sets
