"""The transition points used by `draw`: read from the search's file, or searched first if there is none."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxdiff import parallel
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.terminal import console
from jaxdiff.boundary import read_text
from jaxdiff.errors import InputError
from jaxdiff.fairness import PairTransitions, SpectralTransition, Transition
from jaxdiff.fairness.transition import SearchResult
from jaxdiff.interop import hub
from jaxdiff.writing import file_name

from .options import EDGES, Draw, Search
from .setting import Setting

if TYPE_CHECKING:
    from .methods._switched import Switched


def default_path(model: Path, chosen: Setting, kind: str = "tau") -> Path:
    """The default file of the transition points of a setting.

    Arguments:
        model: the model's folder or file.
        chosen: the setting, with only those modifiers that the search supports.
        kind: the kind of search, `tau` or `spectral`.

    Raises:
        InputError: the model is on a hub, which has no folder of the user's.
    """
    if hub.parsed(model):
        raise InputError(f"{model} is on a hub, where tau cannot be kept: name its file with --out of a search, or --tau-file")
    name = "-".join(part for part in (kind, file_name(chosen.name), chosen.digest) if part)
    return (model if model.is_dir() else model.parent) / f"{name}.json"


def searched(options: Draw, chosen: Setting, method: "Switched") -> SearchResult:
    """The search result from its file, or from a new search. Raises `InputError` if it was found in another context."""
    spectral = method.kind == "spectral"
    chosen = chosen.searched(guarded=not spectral)
    path = method.tau_file or default_path(options.model, chosen, method.kind)
    if not parallel.run_on_first(path.exists):
        if method.tau_file:
            raise InputError(f"--tau-file {path} does not exist; create it with `jaxdiff sample search --out {path}`")
        found = _search(options, chosen, method, path)
    else:
        found = _read(
            path,
            parallel.run_on_first(partial(read_text, path)),
            (SpectralTransition,) if spectral else (Transition, PairTransitions),
        )
    edges = {"edges": list(method.edges)} if spectral and method.edges else {}
    found.require({**chosen.context(), **edges})
    return found


def _search(options: Draw, chosen: Setting, method: "Switched", path: Path) -> SearchResult:
    from . import search

    console.print(f"{path} does not exist: searching tau first")
    modifiers = tuple(each.modifier for each in chosen.nest.modifiers)
    kind = {"mode": "spectral", "edges": method.edges or EDGES} if method.kind == "spectral" else {"start": method.start}
    wanted = Search(options.model, chosen.name, chosen.names, **kind, **{**options.same(), "modifiers": modifiers})
    with kept_parts(path) as finished:
        found, curves = search.find(wanted, chosen, finished)
        search.write(path, found, curves, chosen)
    return found


def _read(path: Path, text: str, kinds: Sequence[type[SearchResult]]) -> SearchResult:
    """The search result in a file, of one of these kinds."""
    refused = []
    for kind in kinds:
        try:
            return kind.from_json(text)
        except InputError as error:
            refused.append(str(error))
    raise InputError(f"{path} is damaged or was written for another method: {'; '.join(refused)}")
