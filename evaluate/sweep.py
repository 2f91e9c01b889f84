"""`jaxdiff evaluate sweep`: fairness of sets drawn at many tau, compared with the searches for tau."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console import plots
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.phases import boundary_times
from jaxdiff.process import from_config
from jaxdiff.sampleset import SampleSet

from . import report, tradeoff
from .fairness import fairness
from .options.fairness import Fairness
from .options.sweep import Sweep
from .writing import write_json

OF_TAU = ("tau", "timestep", "snr", "search")
"""Provenance entries in which the sets of a sweep may differ."""


def fairness_options(options: Sweep, sets: list[SampleSet]) -> Fairness:
    """The options of `fairness` for these sets."""
    given = {field.name: getattr(options, field.name) for field in fields(Fairness)}
    known = {"synthetic": tuple(each.name for each in sets), "values": tuple(sets[0].provenance["values"])}
    return Fairness(**{**given, **known})


def sweep(options: Sweep) -> dict[str, Any]:
    """Evaluates the sets, and writes the report, sweep.json and sweep.png; returns the content of sweep.json."""
    options.join()
    sets = opened_sets(options.sweep, options.attribute)
    searches = opened_searches(options.sweep, sets[0])
    judged = report.plain(fairness(fairness_options(options, sets)))
    process = from_config(sets[0].provenance["process"])
    boundaries = boundary_times(process, options.phases)
    told = {
        "attribute": options.attribute,
        "values": sets[0].provenance["values"],
        "phases": {"snr": list(options.phases), "tau": list(boundaries)},
        "searches": [described(found) for found in searches],
        "sets": [
            {**{name: each.provenance[name] for name in OF_TAU[:3]}, "name": verdict["name"], **measured(verdict)}
            for each, verdict in zip(sets, judged["synthetic"], strict=True)
        ],
        "real": measured(judged["real"]),
    }
    title = f"{options.attribute} ({' / '.join(told['values'])})"
    if "retention" in judged["real"]:
        told["chosen"] = _trade_off(options, told, judged["synthetic"], title)
    write_json(options.out / "sweep.json", told)
    chance = tradeoff.chance(len(told["values"]))
    plots.sweep(options.out / "sweep.png", searches, told["sets"], told["real"], title, boundaries, chance)
    console.print(f"wrote {options.out}/sweep.png and sweep.json", highlight=False)
    return told


def _trade_off(options: Sweep, told: Mapping[str, Any], verdicts, title: str) -> dict[str, float | None]:
    """Writes tradeoff.png, and prints and returns the best tau."""
    values = len(told["values"])
    found = tradeoff.points([each["tau"] for each in told["sets"]], verdicts, values)
    taus, sentence = tradeoff.chosen(found, options.retain, values)
    line = [(share, tradeoff.bound(share, values)) for share in np.linspace(0, 1, 101).tolist()]
    plots.tradeoff(options.out / "tradeoff.png", told["sets"], told["real"], line, title)
    console.print(sentence, highlight=False)
    console.print(f"wrote {options.out}/tradeoff.png", highlight=False)
    return {"retain": options.retain, **taus}


def opened_sets(folder: Path, attribute: str) -> list[SampleSet]:
    """The sets of a sweep by ascending tau. Raises `InputError` if there is none, or if they differ in more than tau."""
    found = [path for path in sorted(folder.glob("tau-*")) if path.is_dir()]
    if not found:
        raise InputError(f"--sweep {folder} has no set tau-*; draw them with `jaxdiff sample sweep --out {folder}`")
    sets = [SampleSet.open(path) for path in found]
    first = sets[0].provenance
    for each in sets:
        if "tau" not in each.provenance:
            raise InputError(f"{each.name} was not drawn by switching at a tau")
        for name in sorted((first.keys() | each.provenance.keys()) - set(OF_TAU)):
            here, there = each.provenance.get(name), first.get(name)
            if here != there:
                told = f"{name} is {there} in {sets[0].name}, {here} in {each.name}"
                raise InputError(f"the sets of a sweep must differ only in tau: {told}")
    if attribute != first["attribute"]:
        raise InputError(f"--attribute {attribute}: the sets of {folder} were switched in {first['attribute']!r}")
    return sorted(sets, key=lambda each: each.provenance["tau"])


def opened_searches(folder: Path, drawn: SampleSet) -> list[Transition]:
    """The searches of a sweep by mode and batch, none where it has none. Raises `InputError` for one of another context."""
    context = {name: drawn.provenance[name] for name in ("model", "process", "solver", "guidance_scale", "attribute", "values")}
    found = []
    for file in sorted(folder.glob("search/*.json")):
        try:
            found.append(Transition.from_json(file.read_text()))
            found[-1].require(context)
        except InputError as error:
            raise InputError(f"{file} and {drawn.name} do not belong to the same sweep: {error}") from error
    if not found:
        console.print(f"no searches in {folder / 'search'}: the plot omits their curves", highlight=False)
    return sorted(found, key=lambda each: (each.mode, each.batch))


def described(found: Transition) -> dict[str, Any]:
    """A search in the form of sweep.json."""
    names = ("mode", "batch", "tau", "timestep", "snr", "residual")
    curve = {"taus": list(found.taus), "scaled_criterion": plots.scaled(found)}
    return {**{name: getattr(found, name) for name in names}, **curve}


def measured(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What is plotted of a set's verdict in report.json: its BER by direction, the energy distance of its two groups (of many,
    the largest), and the trade-off where it was measured."""
    ber = {name: {"mean": each["ber"], "interval": each["intervals"]["ber"]} for name, each in verdict["directions"].items()}
    names = ("distance", "relative", "p_value")
    furthest = {space: max(tests, key=lambda test: test["distance"]) for space, tests in verdict["energy"].items()}
    energy = {space: {name: test[name] for name in names} for space, test in furthest.items()}
    trade_off = tradeoff.measured(verdict)
    return {"ber": ber, "energy": energy, **({"trade_off": trade_off} if trade_off else {})}
