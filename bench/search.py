"""Standard deviation of tau between searches, and cost of a search, by batch size and number of steps."""

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class SearchSpread:
    """Searches tau from several seeds at every batch size and number of steps, with the default search (direct, in features)
    and with the authors' criterion (prefix, own paths, beta and eps, over the batch), and prints the mean, standard deviation
    and range of tau, and the network evaluations and seconds of a search without compilation.

    Examples:

      python -m bench search

      python -m bench search --model runs/faces --batches 64 --steps 20 1000 --repeats 16 --authors-only
    """

    model: Path = Path("checkpoints/embedded")
    """Folder of a run, or a model.safetensors; the model must have one attribute."""
    data: str = "embedded"
    """Real images for the features."""
    batches: tuple[int, ...] = (8, 16, 32, 64)
    """Noise samples per search."""
    steps: tuple[int, ...] = (10, 20)
    """Numbers of solver steps."""
    solver: str = "unipc"
    """Solver."""
    repeats: int = 8
    """Number of seeds per search."""
    authors_only: bool = False
    """Skip the direct searches, which take hours on a CPU at 1000 steps."""
    seed: int = 0
    """The first seed."""
    out: Path = Path("out/search-spread.json")
    """JSON file to write."""

    def __post_init__(self):
        if self.repeats < 2:
            raise InputError(f"--repeats must be at least 2, for a standard deviation, got {self.repeats}")
        if not self.batches or min(self.batches) < 1 or not self.steps or min(self.steps) < 3:
            raise InputError(f"--batches must be at least 1 and --steps at least 3, got {self.batches}, {self.steps}")


def search_spread(options: SearchSpread) -> None:
    """Runs the searches, prints the table and writes the results."""
    import jax
    from rich import box
    from rich.table import Table

    from jaxdiff.data import load_arrays, open_data
    from jaxdiff.fairness import ClassifierFeatures, search_direct, search_prefix, train_image_classifier
    from jaxdiff.model import load
    from jaxdiff.solvers import SOLVERS

    if options.solver not in SOLVERS:
        raise InputError(f"--solver takes one of {', '.join(SOLVERS)}, got {options.solver}")
    model = load(options.model)
    (attribute,) = model.conditions.attributes
    searches = {"authors'": (search_prefix, {"path": "own", "weight": "beta_eps", "norm": "batch"})}
    if not options.authors_only:
        *size, channels = model.shape
        source = open_data(options.data, split="train", size=tuple(size), channels=channels, attributes=[attribute.name])
        images, labels = load_arrays(source, count=4000, seed=options.seed)
        classifier = train_image_classifier(images, labels[:, 0], values=len(attribute.values), seed=options.seed)
        direct = {"features": ClassifierFeatures(classifier.state, classifier.graph), "metric": "feature"}
        searches = {"direct": (search_direct, direct), **searches}
    conditions = tuple(model.conditions.encode([[value] for value in range(len(attribute.values))]))
    rows, total = [], len(searches) * len(options.steps) * len(options.batches) * options.repeats
    with progress("searching", total, unit="searches") as advance:
        for name, (search, own) in searches.items():
            for steps in options.steps:
                for batch in options.batches:
                    taus, seconds = [], []
                    for seed in range(options.seed, options.seed + options.repeats):
                        begun = time.perf_counter()
                        found = search(
                            model.denoise, model.process, conditions=conditions, shape=model.shape, batch=batch,
                            solver=SOLVERS[options.solver](steps), key=jax.random.key(seed), **own,
                        )  # fmt: skip
                        taus.append(found.tau)
                        seconds.append(time.perf_counter() - begun)
                        advance(1, f"{name}, {steps} steps, batch {batch}: tau {found.tau:.3f}")
                    rows.append(
                        {
                            "search": name, "steps": steps, "batch": batch, "taus": taus,
                            "evaluations": found.evaluations * batch, "seconds": statistics.median(seconds[1:]),
                        }
                    )  # fmt: skip
    device = f"{options.solver}, {options.repeats} seeds, {jax.devices()[0].device_kind}, jax {jax.__version__}"
    table = Table(title=f"tau of {attribute.name}: {device}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("search", "steps", "batch", "mean", "spread", "range", "passes", "seconds"):
        table.add_column(heading, justify="left" if heading == "search" else "right")
    for row in rows:
        taus = row["taus"]
        table.add_row(
            row["search"], str(row["steps"]), str(row["batch"]), f"{statistics.mean(taus):.3f}",
            f"{statistics.stdev(taus):.3f}", f"{min(taus):.3f}-{max(taus):.3f}", f"{row['evaluations']:,}",
            f"{row['seconds']:.1f}",
        )  # fmt: skip
    console.print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"device": device, "searches": rows}, indent=2))
    console.print(f"written: {options.out}")
