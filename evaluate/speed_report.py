"""The results of `evaluate speed` as JSON and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from jaxdiff._console.terminal import significant

from .formatting import number
from .speed_comparisons import Comparison
from .speed_pytorch import PyTorch
from .timing import Timing, best, ratio, summary
from .writing import markdown, markdown_code, markdown_table, print_tables


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


def machine(report: Mapping[str, Any]) -> str:
    """The processor, the device and the versions of both frameworks, on one line."""
    found, versions = report["processor"], report["versions"]
    count = len(found["cores"])
    names = [name for name in ("jax", "jaxlib", "torch", "diffusers") if name in versions]
    vectors = f" ({found['vectors']})" if found["vectors"] else ""
    device = f", {report['machine']}" if report["device"] != "cpu" else ""
    return f"{found['model']}{vectors}, {count} core{'s' * (count > 1)}{device}; " + ", ".join(
        f"{name} {versions[name]}" for name in names
    )


def show_start(report: Mapping[str, Any], console: Console) -> None:
    """Prints the machine, the relative errors of the outputs, and the rates of matrix products by precision and framework."""
    console.print(machine(report), highlight=False, markup=False)
    errors = ", ".join(f"a {name} {error:.1e}" for name, error in report["agreement"].items())
    console.print(f"relative error of PyTorch's output, full float32: {errors}", highlight=False)
    rates = report["matrix_rate"]
    rows = [(dtype, *(significant(1e-12 * rate) for rate in by.values())) for dtype, by in rates.items()]
    print_tables([("matrix products, TFLOP/s", ("dtype", *next(iter(rates.values()))), rows)], console)


def show(comparison: Mapping[str, Any], machine: str, console: Console) -> None:
    """Prints the results of a comparison from `judged`, and the machine."""
    title, header, rows = _table(comparison)
    if rows:
        print_tables([(f"{title}\n{machine}", header, rows)], console)
    for line in (*_failures(comparison), *comparison["disturbances"]):
        console.print(f"{comparison['task']}, {comparison['dtype']}: {line}", highlight=False, markup=False)


def show_verdict(report: Mapping[str, Any], console: Console) -> None:
    """Prints which comparisons have no valid ratios, those printed before among them."""
    if line := verdict(report):
        console.print(line, highlight=False, markup=False)


def verdict(report: Mapping[str, Any]) -> str:
    """Says which comparisons have no valid ratios; empty if all have."""
    disturbed = [f"{each['task']}, {each['dtype']}" for each in report["comparisons"] if each["disturbances"]]
    return f"Ratios are not valid on a busy machine, and left out: {'; '.join(disturbed)}." if disturbed else ""


def markdown_report(report: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    lines = [f"# Speed of {report['network']['name']}", markdown_code(report["command"]), markdown(machine(report))]
    lines += [markdown(line)] if (line := verdict(report)) else []
    for comparison in report["comparisons"]:
        title, header, rows = _table(comparison)
        lines += [f"## {markdown(title)}", *([markdown_table(header, rows)] if rows else [])]
        lines += [f"- {markdown(line)}" for line in (*_failures(comparison), *comparison["disturbances"])]
    return "\n\n".join(lines) + "\n"


def _table(comparison: Mapping[str, Any]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, header and rows of the variants that were timed; no column of ratios if the machine was disturbed."""
    valid, title = not comparison["disturbances"], f"{comparison['task']}, {comparison['dtype']}"
    header = ("variant", "warm-up", "s", "img/s", *(("faster", "%") if valid else ()), "GiB")
    rows = []
    for row in comparison["variants"]:
        if "seconds" not in row:
            continue
        ratios = (
            "{median:.2f} [{low:.2f}, {high:.2f}]".format(**row["ratio"]),
            number(100 * row["share_of_matrix_rate"], 0) if "share_of_matrix_rate" in row else "-",
        ) if valid else ()  # fmt: skip
        rows.append(
            (
                row["name"],
                number(row["warm_up_seconds"]),
                significant(row["seconds"]["median"]),
                significant(row["images_per_second"]) if "images_per_second" in row else "-",
                *ratios,
                "-" if row["peak_bytes"] is None else number(row["peak_bytes"] / 2**30, 2),
            )
        )
    faster = f"times faster than {comparison['baseline']} [quartiles]"
    return f"{title}; {faster if valid else 'ratios are not valid on a busy machine'}", header, rows


def _failures(comparison: Mapping[str, Any]) -> list[str]:
    return [f"{row['name']}: {row['failure']}" for row in comparison["variants"] if row["failure"]]
