"""`jaxdiff evaluate series`: how far windows of time series are from real ones, by published scores and distances."""

import time
from typing import Any

from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.terminal import console, reported, working
from jaxdiff.finished import Finished, run_all
from jaxdiff.quality.series import ContextEncoder, train_encoders

from . import series_data, series_plots, series_scores
from . import series_report as report
from .options.series import SeriesSets
from .provenance import provenance


def series(options: SeriesSets) -> dict[str, Any]:
    """Measures, writes the report and prints the tables; returns the content of report.json."""
    with kept_parts(options.out, "report") as finished:
        return evaluate(options, finished)


def evaluate(options: SeriesSets, finished: Finished) -> dict[str, Any]:
    """As `series`; keeps what is finished."""
    start = time.monotonic()
    windows = series_data.opened(options)
    every, train, test = (series_data.unit(windows.space, each) for each in (windows.every, windows.train, windows.test))
    sets = {name: series_data.unit(windows.space, each) for name, each in windows.sets.items()}
    encoders: tuple[ContextEncoder, ...] = ()
    if "context_fid" in options.scores:
        with reported("training encoders") as progress:
            encoders = train_encoders(
                every, iterations=options.iterations and series_scores.steps(
                    options, series_scores.published_iterations(every))[0],
                repeats=options.repeats, seed=options.seed, finished=finished, progress=progress,
            )  # fmt: skip
    scores = series_scores.of_options(options, every, encoders)
    named = {name: series_scores.comparisons(train, test, each, options.seed) for name, each in sets.items()}
    places, parts = series_scores.parts(scores, named, finished)
    with reported("measuring", unit="scores") as progress:
        measured = run_all(finished, parts, progress)
    found: dict[str, dict[str, dict[str, Any]]] = {name: {score: {} for score in scores} for name in sets}
    for (name, kind, score), each in zip(places, measured, strict=True):
        found[name][score][kind] = {"n": len(named[name][kind][0]), **each}
    content = {
        "real": {
            **windows.real, "length": windows.space.length,
            "columns": list(windows.space.columns), "low": list(windows.space.low), "high": list(windows.space.high),
        },
        "scores": {
            name: {"heading": score.heading, "digits": score.digits, "iterations": score.iterations}
            for name, score in scores.items()
        },
        "encoders": [
            {name: getattr(each, name) for name in ("seed", "repeat", "iterations", "checksum")} for each in encoders
        ],
        "sets": [
            {"name": name, "count": len(each), "drawn": windows.provenance[name], "scores": found[name]}
            for name, each in sets.items()
        ],
        **provenance(options),
        "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip
    with working("plotting"):
        real = {series_plots.TRAIN: train, series_plots.TEST: test}
        shown = {**real, **{(f"{name} (set)" if name in real else name): each for name, each in sets.items()}}

        def written() -> None:
            drawn = series_plots.draw(options.out, shown, windows.space.columns)
            report.write(content, options.out, drawn)

        write_once(options.out, written)
    report.show(content, console)
    console.print(f"wrote {options.out}/report.html, report.json and report.md; open the page in a browser", highlight=False)
    return content
