"""The setting that search and draw share: a model, how it is sampled, and with which attribute values."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from jaxdiff import interop, parallel
from jaxdiff._console.terminal import console
from jaxdiff.data import Attribute
from jaxdiff.data.attributes import product_of
from jaxdiff.errors import InputError
from jaxdiff.fairness.fair_prompts import FairPrompts
from jaxdiff.guidance import Clip, ClippingPolicy, Unbounded
from jaxdiff.loading import load
from jaxdiff.model import Model
from jaxdiff.models.labels import NULL
from jaxdiff.solvers import DDIM, SOLVERS, Solver

from .nest import Nest
from .options import Sampling
from .prompts import prompted
from .registry import Entry, Method
from .solving import Solving


@dataclass(frozen=True)
class Setting:
    """A model and how it is sampled.

    Attributes:
        model: the model.
        attribute: the sensitive attribute; for several attributes their product, with one value for each combination; None for
            an unconditional model.
        columns: the positions of these attributes among the model's.
        values: the values that are sampled, two or more, as labels; empty for an unconditional model.
        solver: the solver.
        scale: the scale of classifier-free guidance; 1 means no guidance.
        start: the label that switched sampling starts with, `other` or `none`.
        mesh: the device mesh for weights and samples; use it as `jax.set_mesh(mesh)`.
        abstract: whether the weights are only shapes, to compile without running.
        policy: the clipping policy, which keeps posterior means in the range of the data.
        nest: the model's denoiser with the modifiers.
        fair: the prompts under a fair table, whose rows of labels are then the values; None without a table.
        seeds: the seed of each prompt, None for that of the run; None if all have that.
    """

    model: Model
    attribute: Attribute | None
    columns: tuple[int, ...]
    values: tuple[int, ...]
    solver: Solver
    scale: float
    start: str
    mesh: Mesh
    abstract: bool
    policy: ClippingPolicy
    nest: Nest
    fair: FairPrompts | None = None
    seeds: tuple[int | None, ...] | None = None

    @property
    def denoise(self) -> Callable:
        """The model's denoiser with the modifiers; it takes the conditions in `conditions`, or a mixture of them."""
        return self.nest.outside(self.nest.inside(), self.conditions())

    @property
    def name(self) -> str:
        """The name of the attribute; empty for an unconditional model."""
        return self.attribute.name if self.attribute else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that are sampled."""
        return tuple(self.attribute.values[value] for value in self.values) if self.attribute else ()

    @cached_property
    def null(self) -> Any:
        """The null condition, one row. Raises `InputError` if the model has no null label."""
        return self.model.conditions.null

    def labels(self, ends: Int[np.ndarray, " b"]) -> Int[np.ndarray, "b a"]:
        """Label rows for the values at these positions in `values`, with the null label for the model's other attributes."""
        if self.fair is not None:
            return self.fair.rows[ends]
        attributes = self.model.conditions.attributes
        rows = np.full((len(ends), len(attributes)), NULL, np.int32)
        if self.columns:
            sizes = [len(attributes[column].values) for column in self.columns]
            rows[:, self.columns] = np.stack(np.unravel_index(np.array(self.values)[ends], sizes), axis=1)
        return rows

    def condition(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The condition for the values at these positions in `values`."""
        return self.model.conditions.encode(self.labels(ends))

    def conditions(self) -> Any:
        """The condition of each value that is sampled; of a model without attributes, its one condition."""
        return self.condition(np.arange(max(1, len(self.values))))

    def placed(self, model: Model) -> Model:
        """The model with its weights placed on the devices, sharded as the mesh says."""
        if self.abstract:
            network = parallel.abstract_parameters(self.mesh, model.network)
        else:
            network = parallel.place(model.network, parallel.parameter_shardings(self.mesh, model.network))
        return replace(model, network=network)

    def searched(self, *, guarded: bool = True) -> "Setting":
        """The setting in which tau is searched: with only those modifiers that a search supports.

        Arguments:
            guarded: whether the search supports guards.
        """
        return replace(self, nest=self.nest.only(lambda each: each.searched and (guarded or each.slot != "guard")))

    def context(self) -> dict[str, Any]:
        """The context that a transition point is valid in, JSON-ready."""
        guard = self.nest.in_slot("guard")
        settings = self.nest.settings()
        return {
            "model": self.model.fingerprint,
            "process": self.model.process.config(),
            "solver": self.solver.config(),
            "guidance_scale": self.scale,
            "start": self.start,
            "attribute": self.name or None,
            "values": list(self.names),
            **self.model.conditions.context(),
            **({} if guard is None else {"guard": dict(guard.settings)}),
            **({"modifiers": settings} if settings else {}),
        }

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that identify modifiers and prompts in the name of tau's file; empty without either."""
        guard, others = self.nest.in_slot("guard"), {**self.nest.settings(), **self.model.conditions.context()}
        if guard is None and not others:
            return ""
        settings = dict(guard.settings) if guard and not others else {"guard": guard and dict(guard.settings), **others}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


_NARROW = (
    "the network of this bridge does not see x_T, and --solver {solver} then does not draw the data; "
    "dpm_solver_sde, ddpm, euler_maruyama, and ddim with --eta 1 do"
)


def make_solver(sampling: Solving, model: Model | None = None) -> Solver:
    """The solver from the sampling options. Raises `InputError` for options out of range.

    Arguments:
        sampling: the options.
        model: the model, which may place the timesteps of a solver (`Model.grids`), and on which the default solver depends.
            None to check the options before it is loaded.
    """
    name = sampling.solver or ("dpm_solver_sde" if model is not None and model.averages_end else "unipc")
    grids = {} if model is None else model.grids
    given: dict[str, Any] = {"spacing": sampling.spacing} if sampling.spacing else dict(grids.get(name, {}))
    for option, taker in (("eta", "ddim"), ("churn", "heun")):
        given |= {option: getattr(sampling, option)} if name == taker else {}
    return SOLVERS[name](sampling.steps, **given)


def setting(
    path: Any,
    attribute: str | None,
    values: tuple[str, ...],
    sampling: Sampling,
    *,
    method: Method | None = None,
    start: str = "other",
    abstract: bool = False,
    loaded: Model | None = None,
) -> Setting:
    """Joins the other processes, loads the model and prepares the modifiers, and checks that the options fit the model.

    Arguments:
        path, attribute, values, sampling: as in the options of the commands.
        method: the method to draw with; None for a search, which switches labels.
        start: the label that switched sampling starts with.
        abstract: whether to keep only the shapes of the weights, to compile without running; a text-to-image folder may then
            lack its weights.
        loaded: the model at `path`, where it is loaded already.

    Raises:
        InputError: before any compute, if an option does not fit the model.
    """
    make_solver(sampling)
    mesh = sampling.make_mesh()
    outline = interop.outline(path) if abstract else None
    given = prompted(path, outline or loaded or load(path), attribute, sampling, None if method is None else method.fair_table)
    model, attribute, fair, seeds = given
    solver = make_solver(sampling, model)
    solver.check(model.process)
    if model.averages_end and not solver.follows_reverse_sde:
        console.print(f"Warning: {_NARROW.format(solver=solver.name)}", highlight=False)
    if not model.conditions.attributes:
        _check_unconditional(path, model, attribute, values, method)
    _check_null(path, model, [*([method] if method else []), *sampling.modifiers], start)
    if fair is not None:
        found, columns, labels = _of_table(fair, values)
    elif model.conditions.attributes:
        found, columns, labels = _chosen_values(path, model, attribute, values, method)
    else:
        found, columns, labels = None, (), ()
    clipping = sampling.modifier("clipping")
    policy = clipping.policy(model) if clipping else model.policy
    if sampling.network_eps:
        solver, policy = _clipping_solver(path, solver, policy)
    chosen = Setting(
        model, found, columns, labels, solver, sampling.scale, start, mesh, abstract, policy, Nest(model, policy, ()),
        fair=fair, seeds=seeds,
    )  # fmt: skip
    chosen = replace(chosen, model=chosen.placed(model))
    ready = tuple(each for modifier in sampling.modifiers if (each := modifier.ready(chosen)) is not None)
    return replace(chosen, nest=Nest(chosen.model, policy, ready))


def _clipping_solver(path: Any, solver: DDIM, policy: ClippingPolicy) -> tuple[DDIM, ClippingPolicy]:
    """The solver that clips x0 itself and keeps the network's eps, and the policy for it: nothing else clips."""
    if not isinstance(policy, Clip):
        raise InputError(f"--network-eps needs data in a range, such as pixels; the model at {path} has none")
    return replace(solver, clip=(float(policy.low), float(policy.high))), Unbounded()


def _check_null(path: Any, model: Model, entries: Sequence[Entry], start: str) -> None:
    """Raises `InputError` if something needs a null label and the model has none."""
    if model.conditions.has_null:
        return
    needing = [entry.spelled() for entry in entries if entry.needs_null] + ["--start none"] * (start == "none")
    if needing and not model.conditions.attributes:
        raise InputError(f"{needing[0]} needs a model conditioned on labels, and the model at {path} is unconditional")
    if needing:
        raise InputError(
            f"{needing[0]} needs a model with a null label, and the model at {path} has none: it was trained without label "
            "dropout. Train with --label-dropout above 0, or import with --null-label if the source has one"
        )


def _check_unconditional(
    path: Any, model: Model, attribute: str | None, values: tuple[str, ...], method: Method | None
) -> None:
    what = "a search" if method is None else method.spelled()
    if (method is None or method.needs_labels) and model.conditions.has_null:
        raise InputError(
            f"{what} needs an attribute, and --prompt is one prompt for all images: give an attribute with its prompts, "
            '--attribute "group: a photo of a man | a photo of a woman"'
        )
    if method is None or method.needs_labels:
        raise InputError(
            f"the model at {path} is unconditional, and {what} needs a model conditioned on labels: train with --attributes, "
            "or draw with --method vanilla"
        )
    if attribute or values:
        raise InputError(
            f"--attribute and --values need a model conditioned on labels, and the model at {path} is unconditional"
        )


def _chosen_values(
    path: Any, model: Model, attribute: str | None, values: tuple[str, ...], method: Method | None
) -> tuple[Attribute, tuple[int, ...], tuple[int, ...]]:
    """The chosen attribute, its columns among the model's, and the labels of the chosen values."""
    conditions = model.conditions
    known = [each.name for each in conditions.attributes]
    if attribute is None and len(known) > 1:
        listed = ", ".join(known)
        raise InputError(f"the model has several attributes: choose with --attribute, one of {listed} or more joined by +")
    name = attribute or known[0]
    columns, parts = zip(*map(conditions.attribute, [name] if name in known else name.split("+")), strict=True)
    if len(set(columns)) < len(columns):
        raise InputError(f"--attribute joins different attributes by +, got {name}")
    labelled = method is not None and method.labels_all and not conditions.has_null
    if not conditions.separate and not labelled and len(columns) < len(known):
        why = "gives prompts to combinations of values" if conditions.has_null else "has no null label"
        raise InputError(f"the model at {path} {why}, so every attribute must be given: use --attribute {'+'.join(known)}")
    found = product_of(parts)
    values = values or found.values
    if len(values) < 2 or len(set(values)) < len(values):
        raise InputError(f"--values takes two or more different values of {found.name!r}, got {' '.join(values)}")
    return found, columns, tuple(map(found.index, values))


def _of_table(fair: FairPrompts, values: tuple[str, ...]) -> tuple[Attribute, tuple[int, ...], tuple[int, ...]]:
    """All attributes of the labels joined, their columns, and the rows of labels as values."""
    if values:
        raise InputError(f"--values and --fair-table both choose values: use one of them; got --values {' '.join(values)}")
    attributes = fair.attributes
    names = ("+".join(own.values[label] for own, label in zip(attributes, row, strict=True) if label >= 0) for row in fair.rows)
    found = Attribute("+".join(each.name for each in attributes), tuple(names))
    return found, tuple(range(len(attributes))), tuple(range(len(found.values)))
