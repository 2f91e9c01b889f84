"""`jaxdiff evaluate sweep`: fairness of sets drawn at many tau, compared with the searches for tau."""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.terminal import console
from jaxdiff.boundary import read_text, reading
from jaxdiff.data.attributes import PROMPT
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.phases import boundary_times
from jaxdiff.process import from_config
from jaxdiff.sampleset import SampleSet

from . import report, tradeoff
from .fairness import evaluate
from .options.fairness import Fairness
from .options.sweep import Sweep
from .writing import write_json

VARYING = ("tau", "timestep", "snr", "search")
"""Provenance entries in which the sets of a sweep may differ."""
CONTEXT = ("model", "process", "solver", "guidance_scale", "attribute", "values")
"""What every search was made in."""
OF_SEARCHES = {"seed", "seconds", "reference"}
"""What searches record of themselves."""


def fairness_options(options: Sweep, sets: list[SampleSet]) -> Fairness:
    """The options of `fairness` for these sets."""
    given = {field.name: getattr(options, field.name) for field in fields(Fairness)}
    known = {"synthetic": tuple(each.name for each in sets), "values": tuple(sets[0].provenance["values"])}
    return Fairness(**{**given, **known})


def sweep(options: Sweep) -> dict[str, Any]:
    """Evaluates the sets, and writes the report, sweep.json and sweep.png; returns the content of sweep.json."""
    options.join()
    with reading(options.sweep):
        sets = open_sets(options.sweep, options.attribute)
        searches = open_searches(options.sweep, sets[0])
        from_config(sets[0].provenance["process"])  # before any compute
    with kept_parts(options.out, "report") as finished:
        result = evaluate(fairness_options(options, sets), finished)
        return _compare(options, sets, searches, report.as_json(result))


def _compare(options: Sweep, sets: list[SampleSet], searches: list[Transition], evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """Writes sweep.json and sweep.png, from the content of report.json; returns the content of sweep.json."""
    process = from_config(sets[0].provenance["process"])
    boundaries = boundary_times(process, options.phases)
    content = {
        "attribute": options.attribute,
        "values": sets[0].provenance["values"],
        "phases": {"snr": list(options.phases), "tau": list(boundaries)},
        "searches": [search_json(found) for found in searches],
        "sets": [
            {**{name: each.provenance[name] for name in VARYING[:3]}, "name": result["name"], **set_json(result)}
            for each, result in zip(sets, evaluated["synthetic"], strict=True)
        ],
        "real": set_json(evaluated["real"]),
    }
    title = f"{options.attribute} ({' / '.join(content['values'])})"
    write_data = partial(write_once, options.out, partial(write_json, options.out / "sweep.json", content))
    # the data before the plots of them
    write_data()
    if "retention" in evaluated["real"]:
        content["chosen"] = _trade_off(options, content, evaluated["synthetic"], title)
        write_data()
    chance = tradeoff.chance(len(content["values"]))
    write_once(
        options.out,
        lambda: plots.sweep(options.out / "sweep.png", searches, content["sets"], content["real"], title, boundaries, chance),
    )
    console.print(f"wrote {options.out}/sweep.png and sweep.json", highlight=False)
    return content


def _trade_off(options: Sweep, content: Mapping[str, Any], results, title: str) -> dict[str, float | None]:
    """Writes tradeoff.png, and prints and returns the best tau."""
    values = len(content["values"])
    found = tradeoff.points([each["tau"] for each in content["sets"]], results, values)
    taus, sentence = tradeoff.chosen(found, options.retain, values)
    line = [(share, tradeoff.bound(share, values)) for share in np.linspace(0, 1, 101).tolist()]
    figure = options.out / "tradeoff.png"
    write_once(figure, lambda: plots.tradeoff(figure, content["sets"], content["real"], line, title))
    console.print(sentence, highlight=False)
    console.print(f"wrote {options.out}/tradeoff.png", highlight=False)
    return {"retain": options.retain, **taus}


def open_sets(folder: Path, attribute: str) -> list[SampleSet]:
    """The sets of a sweep by ascending tau. Raises `InputError` if there is none, if they differ in more than tau, or if they
    were switched in what no single attribute of real images has."""
    found = [path for path in sorted(folder.glob("tau-*")) if path.is_dir()]
    if not found:
        raise InputError(f"--sweep {folder} has no set tau-*; draw them with `jaxdiff sample sweep --out {folder}`")
    sets = [SampleSet.open(path) for path in found]
    first = sets[0].provenance
    for each in sets:
        if "tau" not in each.provenance:
            raise InputError(f"{each.name} was not drawn by switching at a tau")
        for name in sorted((first.keys() | each.provenance.keys()) - set(VARYING)):
            here, there = each.provenance.get(name), first.get(name)
            if here != there:
                difference = f"{name} is {there} in {sets[0].name}, {here} in {each.name}"
                raise InputError(f"the sets of a sweep must differ only in tau: {difference}")
    switched = first["attribute"]
    if attribute != switched:
        raise InputError(f"--attribute {attribute}: the sets of {folder} were switched in {switched!r}")
    if switched == PROMPT:
        raise InputError(
            f"the sets of {folder} were switched between prompts of a file, with which no real images are labelled: count what "
            "they show with `jaxdiff evaluate prompts`, or give prompts to values of an attribute of the real images"
        )
    if switched not in [each.name for each in sets[0].attributes]:
        raise InputError(
            f"the sets of {folder} were switched between combinations of {switched.replace('+', ' and ')}: evaluate one "
            f"with `jaxdiff evaluate fairness --synthetic {folder}/tau-*`, and the others with --intersect"
        )
    return sorted(sets, key=lambda each: each.provenance["tau"])


def open_searches(folder: Path, drawn: SampleSet) -> list[Transition]:
    """The searches of a sweep by mode and batch, if any. Raises `InputError` for a search of another model or setting."""
    found = []
    for file in sorted(folder.glob("search/*.json")):
        try:
            found.append(Transition.from_json(read_text(file)))
            found[-1].require(_context(drawn.provenance, found[-1].context))
        except InputError as error:
            raise InputError(f"{file} and {drawn.name} do not belong to the same sweep: {error}") from error
    if not found:
        console.print(f"no searches in {folder / 'search'}: the plot omits their curves", highlight=False)
    return sorted(found, key=lambda each: (each.mode, each.batch))


def _context(drawn: Mapping[str, Any], searched: Mapping[str, Any]) -> dict[str, Any]:
    """What the context of a search must be, by the provenance of a set: prompts and modifiers are part of it, too."""
    # a set has the settings of its guard by themselves
    guard = {name: drawn.get(name) for name in searched.get("guard") or {}}
    names = sorted({*CONTEXT, *searched} - {*OF_SEARCHES, "guard"})
    return {**{name: drawn.get(name) for name in names}, **({"guard": guard} if guard else {})}


def search_json(found: Transition) -> dict[str, Any]:
    """A search in the form of sweep.json."""
    names = ("mode", "batch", "tau", "timestep", "snr", "residual")
    curve = {"taus": list(found.taus), "scaled_criterion": plots.scaled(found)}
    return {**{name: getattr(found, name) for name in names}, **curve}


def set_json(result: Mapping[str, Any]) -> dict[str, Any]:
    """A set in the form of sweep.json: its BER by direction, the energy distance between its groups (for more than two, the
    largest), and its trade-off if it was measured."""
    ber = {name: {"mean": each["ber"], "interval": each["intervals"]["ber"]} for name, each in result["directions"].items()}
    names = ("distance", "relative", "p_value")
    furthest = {space: max(tests, key=lambda test: test["distance"]) for space, tests in result["energy"].items()}
    energy = {space: {name: test[name] for name in names} for space, test in furthest.items()}
    trade_off = tradeoff.measured(result)
    return {"ber": ber, "energy": energy, **({"trade_off": trade_off} if trade_off else {})}
