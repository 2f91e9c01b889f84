"""Sample quality by number of network evaluations, for every solver."""

import json
from dataclasses import dataclass
from pathlib import Path

from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class Solvers:
    """Draws a set with every solver at several budgets of network evaluations, from the same noise, and prints the energy
    distance of each set to real images, in the features of a classifier of real images and in pixels. The row "real" is the
    distance between two sets of real images, a lower bound up to chance.

    Examples:

      python -m bench solvers

      python -m bench solvers --model runs/faces --count 2048 --budgets 10 25 50 100
    """

    model: Path = Path("checkpoints/embedded")
    """Trained model: the folder of a run, or its model.safetensors."""
    attribute: str = "group"
    """Attribute whose values are drawn in equal shares, and that the classifier is trained on."""
    data: str = "embedded"
    """Real images."""
    count: int = 512
    """Images per set."""
    budgets: tuple[int, ...] = (5, 10, 20, 50)
    """Network evaluations per image."""
    batch_size: int = 64
    """Images per batch."""
    seed: int = 0
    """Random seed of the noise, the classifier and the choice of real images."""
    out: Path = Path("out/solvers.json")
    """JSON file to write."""

    def __post_init__(self):
        if self.count < 2 or self.batch_size < 1 or not self.budgets or min(self.budgets) < 2:
            raise InputError(
                "--count must be at least 2, --batch-size at least 1 and --budgets at least 2, "
                f"got {self.count}, {self.batch_size}, {self.budgets}"
            )


def solvers(options: Solvers) -> None:
    """Draws the sets, prints the distances and writes them."""
    import jax
    import numpy as np
    from rich.table import Table

    from jaxdiff.data import load_arrays, open_data
    from jaxdiff.fairness.energy import energy_distance
    from jaxdiff.image_classifier import train_image_classifier
    from jaxdiff.model import load
    from jaxdiff.solvers import DDIM, SOLVERS, DPMSolver, EulerMaruyama, Heun, sample

    model = load(options.model)
    column, attribute = model.conditions.attribute(options.attribute)
    opened = [
        open_data(options.data, split=split, size=model.shape[:2], channels=model.shape[2], attributes=[attribute.name])
        for split in ("train", "test")
    ]
    known, labels = load_arrays(opened[0], count=4000, seed=options.seed)
    real, _ = load_arrays(opened[1], count=2 * options.count, seed=options.seed)
    real = model.space.encode(real)
    classifier = train_image_classifier(known, labels[:, 0], values=len(attribute.values), seed=options.seed)
    views = {"features": classifier.features, "pixels": lambda images: images.reshape(len(images), -1)}
    rows = np.full((options.count, len(model.conditions.attributes)), -1, np.int32)
    rows[:, column] = np.arange(options.count) % len(attribute.values)

    # every solver with its default spacing, and those that depend most on spacing with another one
    made = {name: lambda steps, solver=solver: solver(steps) for name, solver in SOLVERS.items()}
    made["euler_maruyama"] = lambda steps: EulerMaruyama(steps, spacing="log_snr")
    made["ddim, log_snr"] = lambda steps: DDIM(steps, spacing="log_snr")
    made["dpm_solver, uniform"] = lambda steps: DPMSolver(steps, spacing="uniform")
    made["heun, log_snr"] = lambda steps: Heun(steps, spacing="log_snr")

    def drawn(solver):
        parts = []
        for low in range(0, options.count, options.batch_size):
            indices = np.arange(low, low + options.batch_size)
            condition = model.conditions.encode(rows[np.minimum(indices, options.count - 1)])
            images = sample(
                model.denoise, model.process, shape=model.shape, solver=solver, key=jax.random.key(options.seed),
                condition=condition, indices=indices,
            )  # fmt: skip
            parts.append(np.clip(images, -1, 1))
        return np.concatenate(parts)[: options.count]

    def stable(solver):
        try:
            solver.check(model.process)
        except InputError:
            return False
        return True

    def distances(images):
        return {name: energy_distance(view(images), view(real[: options.count])) for name, view in views.items()}

    found = {"real": {"": distances(real[options.count :])}}
    with progress("sampling", len(made) * len(options.budgets)) as advance:
        for name, make in made.items():
            found[name] = {}
            for budget in options.budgets:
                # the most steps within the budget
                solver = make(max(steps for steps in range(1, budget + 1) if make(steps).evaluations <= budget))
                found[name][str(budget)] = distances(drawn(solver)) if stable(solver) else None
                advance(1, f"{name}, {budget} evaluations")
    for view in views:
        table = Table(title=f"energy distance to real images in {view}, {options.count} images per set", title_justify="left")
        for heading in ("solver", *(f"{budget} evaluations" for budget in options.budgets)):
            table.add_column(heading, justify="left" if heading == "solver" else "right")
        for name, by_budget in found.items():
            values = [f"{value[view]:.4f}" if value else "unstable" for value in by_budget.values()]
            table.add_row(name, *(values if len(values) > 1 else values * len(options.budgets)))
        console.print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({"options": {"count": options.count, "seed": options.seed}, "distances": found}, indent=2)
    )
    console.print(f"written: {options.out}; {jax.devices()[0].device_kind}, jax {jax.__version__}")
