"""What `evaluate speed` tells of its races: JSON and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from jaxdiff._console.terminal import significant

from .cells import number
from .speed_pytorch import PyTorch
from .speed_races import Race
from .timing import Timed, best, ratio, summary
from .writing import print_tables


def told(
    race: Race, results: Sequence[Timed], rate: float, images: int | None, flops: Mapping[str, int | None]
) -> dict[str, Any]:
    """A race, JSON-ready. The baseline is PyTorch's fastest contestant, where none was timed the first that was.

    Arguments:
        race: what was timed.
        results: of its contestants.
        rate: the machine's rate of matrix products in this precision, operations a second.
        images: that a run draws or trains on; None where it is not told by images.
        flops: matrix operations of a run as each framework does it, by its name; None where they are not counted.
    """
    baseline = best(results, PyTorch.framework) or next((result for result in results if result.seconds), None)
    return {
        "task": race.task,
        "dtype": race.dtype,
        "images": images,
        "flops": dict(flops),
        "baseline": baseline.contestant.name if baseline else None,
        "contestants": [_contestant(result, baseline, rate, images, flops) for result in results],
    }


def _contestant(
    result: Timed, baseline: Timed | None, rate: float, images: int | None, flops: Mapping[str, int | None]
) -> dict[str, Any]:
    row = {
        "name": result.contestant.name,
        "framework": result.contestant.framework,
        "mode": result.contestant.mode,
        "warm_up_seconds": result.warm_up,
        "failure": result.failure,
        "peak_bytes": result.memory,
        "round_seconds": result.seconds,
    }
    if result.seconds:
        row["seconds"] = summary(result.seconds)
        row["ratio"] = ratio(baseline.seconds, result.seconds)
        if images is not None:
            row["images_per_second"] = images / row["seconds"]["median"]
        if (operations := flops.get(row["framework"])) is not None:
            row["flops_per_second"] = operations / row["seconds"]["median"]
            row["share_of_matrix_rate"] = row["flops_per_second"] / rate
    return row


def show_rates(agreement: dict[str, float], rates: dict[str, dict[str, float]], console: Console) -> None:
    """Prints how far the outputs agree, and the rates of matrix products by framework of each precision."""
    errors = ", ".join(f"a {name} {error:.1e}" for name, error in agreement.items())
    console.print(f"relative error of PyTorch's output, full float32: {errors}", highlight=False)
    rows = [(dtype, *(significant(1e-12 * rate) for rate in by.values())) for dtype, by in rates.items()]
    print_tables([("matrix products, TFLOP/s", ("dtype", *next(iter(rates.values()))), rows)], console)


def show(race: dict[str, Any], console: Console) -> None:
    """Prints a race as `told` tells it."""
    rows = [
        (
            row["name"],
            number(row["warm_up_seconds"]),
            significant(row["seconds"]["median"]),
            significant(row["images_per_second"]) if "images_per_second" in row else "-",
            "{median:.2f} [{low:.2f}, {high:.2f}]".format(**row["ratio"]),
            number(100 * row["share_of_matrix_rate"], 0) if "share_of_matrix_rate" in row else "-",
            "-" if row["peak_bytes"] is None else number(row["peak_bytes"] / 2**30, 2),
        )
        for row in race["contestants"]
        if "seconds" in row
    ]
    if rows:
        title = f"{race['task']}, {race['dtype']}; times faster than {race['baseline']} [quartiles]"
        print_tables([(title, ("contestant", "warm-up", "s", "img/s", "faster", "%", "GiB"), rows)], console)
    for row in race["contestants"]:
        if row["failure"]:
            console.print(f"{race['task']}, {race['dtype']}: {row['name']}: {row['failure']}", highlight=False, markup=False)
