"""The results of `evaluate speed` as JSON and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from jaxdiff._console.terminal import significant

from .formatting import number
from .speed_comparisons import Comparison
from .speed_pytorch import PyTorch
from .timing import Timing, best, ratio, summary
from .writing import print_tables


def comparison_json(
    comparison: Comparison, results: Sequence[Timing], rate: float, images: int | None, flops: Mapping[str, int | None]
) -> dict[str, Any]:
    """The results of a comparison, JSON-ready. The baseline is PyTorch's fastest variant, or else the first that was timed.

    Arguments:
        comparison: the comparison.
        results: the timings of its variants.
        rate: the rate of matrix products on this machine in this precision, in operations per second.
        images: number of images that a run draws or trains on; None for tasks without images.
        flops: matrix operations of a run by framework; None if they are not counted.
    """
    baseline = best(results, PyTorch.name) or next((result for result in results if result.seconds), None)
    return {
        "task": comparison.task,
        "dtype": comparison.dtype,
        "images": images,
        "flops": dict(flops),
        "baseline": baseline.benchmark.name if baseline else None,
        "variants": [_benchmark(result, baseline, rate, images, flops) for result in results],
    }


def _benchmark(
    result: Timing, baseline: Timing | None, rate: float, images: int | None, flops: Mapping[str, int | None]
) -> dict[str, Any]:
    row = {
        "name": result.benchmark.name,
        "framework": result.benchmark.framework,
        "mode": result.benchmark.mode,
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
    """Prints the relative errors of the outputs, and the rates of matrix products by precision and framework."""
    errors = ", ".join(f"a {name} {error:.1e}" for name, error in agreement.items())
    console.print(f"relative error of PyTorch's output, full float32: {errors}", highlight=False)
    rows = [(dtype, *(significant(1e-12 * rate) for rate in by.values())) for dtype, by in rates.items()]
    print_tables([("matrix products, TFLOP/s", ("dtype", *next(iter(rates.values()))), rows)], console)


def show(comparison: dict[str, Any], console: Console) -> None:
    """Prints the results of a comparison from `comparison_json`."""
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
        for row in comparison["variants"]
        if "seconds" in row
    ]
    if rows:
        title = f"{comparison['task']}, {comparison['dtype']}; times faster than {comparison['baseline']} [quartiles]"
        print_tables([(title, ("variant", "warm-up", "s", "img/s", "faster", "%", "GiB"), rows)], console)
    for row in comparison["variants"]:
        if row["failure"]:
            console.print(f"{comparison['task']}, {comparison['dtype']}: {row['name']}: {row['failure']}", highlight=False)
