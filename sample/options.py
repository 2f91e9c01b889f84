"""The commands as data: how a model is sampled, and what `draw`, `search` and `sweep` take.

These are what the library's side of the program works with: a method and modifiers are objects with options of their own. The
command line, on which all options stand side by side, is made from them in `command_line`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from jaxdiff._console.hosts import Hosts
from jaxdiff.choices import BOUNDARIES, SolverName, Spacing, check_boundaries
from jaxdiff.errors import InputError

from .methods.vanilla import Vanilla
from .registry import Method, Modifier, Slot, at_least, flag

EDGES = (1.5, 4.0)
"""The radii at which the bands of `spectral` meet where the user does not say, in half-cycles an image."""
SLOTS: tuple[Slot, ...] = get_args(Slot)
Mode = Literal[
    "direct/feature", "direct/whitened", "direct/pixel", "prefix/shared/g2_score/sample", "prefix/own/beta_eps/batch"
]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, kw_only=True)
class Sampling(Hosts):
    """How a model is sampled: what a search, a drawing and a sweep share."""

    solver: SolverName = "unipc"
    """The solver; the table above says what each is for, the documentation what each measured."""
    steps: int = 20
    """Steps of the solver."""
    spacing: Spacing | None = None
    """How its nodes lie; by default as suits the solver."""
    eta: float = 0.0
    """ddim: 0 is deterministic, 1 is ancestral sampling."""
    churn: float = 0.0
    """heun: S_churn, noise added before each step."""
    modifiers: tuple[Modifier, ...] = ()
    """What changes the denoiser, at most one of each slot."""

    def __post_init__(self):
        for option, taker in (("eta", "ddim"), ("churn", "heun")):
            if (value := getattr(self, option)) and self.solver != taker:
                raise InputError(f"--{option} is for --solver {taker}, got --{option} {value} with --solver {self.solver}")
        for slot in SLOTS:
            if len(several := [modifier.name for modifier in self.modifiers if modifier.slot == slot]) > 1:
                raise InputError(f"{' and '.join(several)} stand in one place of the denoiser: take one of them")
        if self.modifier("guard") and self.modifier("guard").takes_scale:
            self._refuse_forms(f"--guard {self.modifier('guard').name} with --anchor unconditional")
        for modifier in self.modifiers:
            modifier.check(self)

    @property
    def scale(self) -> float:
        """The scale of classifier-free guidance; 1 is none."""
        guided = self.modifier("guidance")
        return 1.0 if guided is None else float(guided.guidance_scale)

    def modifier(self, slot: Slot) -> Modifier | None:
        """The modifier of a slot; None where there is none."""
        return next((modifier for modifier in self.modifiers if modifier.slot == slot), None)

    def same(self) -> dict:
        """All of it by name, for another command that samples alike."""
        return {field.name: getattr(self, field.name) for field in fields(Sampling)}

    def _refuse_forms(self, what: str) -> None:
        """Raises `InputError` for forms of classifier-free guidance that `what`, which adds the plain form itself, has not."""
        for slot in ("guidance", "interval"):
            if (other := self.modifier(slot)) and other.name != "classifier_free":
                raise InputError(f"{what} adds classifier-free guidance itself, in its plain form, and takes no {other.name}")


@dataclass(frozen=True)
class Draw(Sampling):
    """Draws a set of images, as many of each group, by one method.

    For switching and spectral, tau is read from the search's file, searched when there is none, or given. Sample i of every
    method starts from the same noise. A set that was cut off goes on where it stopped.

    Examples:

      python -m sample draw --model runs/faces --method switching --attribute group --count 4096 --out out/switching

      python -m sample draw --model runs/faces --method vanilla --count 4096 --out out/vanilla --format png

      python -m sample draw --model runs/faces --method switching --tau 0.2 0.4 0.6 0.8 --out out/sweep

      python -m sample draw --model runs/faces --method spectral --edges 1.5 4 --tau 0.94 0.8 0.6 --out out/spectral

      python -m sample draw --model runs/faces --method fair_diffusion --target 0.3 0.7 --out out/fair

      python -m sample draw --model runs/utkface --method switching --attribute gender+race --out out/intersections

      python -m sample draw --model runs/faces --method switching --start none --tau 0.5 --out out/late

      python -m sample draw --model runs/faces --unsafe embedded:glasses=yes --unsafe-count 512 --out out/safe

      python -m sample draw --model runs/faces --method switching --unsafe private/ --strength 0.5 --out out/fair-and-safe
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    out: Path
    """Folder of the set (of the sets, with several --tau)."""
    method: Method = Vanilla()
    """The method, with its options."""
    attribute: str | None = None
    """The sensitive attribute, or the combinations of several joined by +; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The values to draw, two or more; by default all."""
    count: int = 1024
    """Images in all; as many of each value."""
    batch_size: int | None = None
    """Images at once, on all devices together, which must divide it; by default as many as the memory of accelerators holds, on
    processors 64. The images do not depend on it."""
    seed: int = 0
    """Seed; sample i is a function of (seed, i)."""
    format: Literal["npz", "png"] = "npz"
    """Shards of arrays, or plain files with labels.csv."""
    dry_run: bool = False
    """Print the resolved options and what a batch takes on each device, by compiling it, and draw nothing."""
    devices: int | None = None
    """With --dry-run: compile for so many devices, in place of those that there are."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("count", "batch_size"):
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)
        if self.devices is not None and not self.dry_run:
            raise InputError(f"--devices is for --dry-run, got {self.devices} without it")
        self.method.check(self)
        for modifier in self.modifiers:
            if reason := self.method.refuses(modifier) or modifier.refused.get(self.method.name):
                raise InputError(f"{reason}; got --method {self.method.name} with {modifier.name}")
        if self.method.takes_scale:
            self._refuse_forms(f"--method {self.method.name}")


@dataclass(frozen=True)
class Search(Sampling):
    """Finds the transition point tau at which a switched sample best forgets its attribute.

    `direct` compares the two switched outputs of the same noise: in pixels, in whitened pixels, or in the features of a
    classifier that is trained on real images first. Its tau is the vertex of a parabola through the best point of a grid
    and its two neighbours, which scatters less than the least of many points and may lie beside it. `prefix` is the
    criterion of the paper (--path own --weight beta_eps --norm batch is the authors' own mode). A pixel distance finds the
    wrong tau on real faces; the documentation shows what each finds. `spectral` finds a tau for each band of frequencies, by
    the same distances (--metric pixel: each within its band). Of more than two values there is one tau for all pairs, or one
    for each (--each-pair). --objective draws and judges sets at several tau, which takes longer, and gives the tau that
    serves a purpose. tau holds for its solver, steps, spacing, guidance and modifiers alone.

    Examples:

      python -m sample search --model runs/faces --attribute group

      python -m sample search --model runs/utkface --attribute gender --reference ~/utkface --value-names gender=male,female

      python -m sample search --model runs/utkface --mode prefix --path own --weight beta_eps --norm batch --out authors.json

      python -m sample search --model runs/faces --mode spectral --edges 1.5 4

      python -m sample search --model runs/faces --objective parity --retain 0.8 --start none

      python -m sample search --model runs/utkface --attribute gender+race --values female+Black female+White male+Black
          male+White --each-pair

      python -m sample search --model runs/faces --attribute group --unsafe private/ --window 0 inf
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    attribute: str | None = None
    """The sensitive attribute, or the combinations of several joined by +; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The values to switch between, two or more; by default all."""
    start: Literal["other", "none"] = "other"
    """What a switched image starts under: another value of the attribute, or no label, which is at parity already."""
    each_pair: bool = False
    """A tau for each pair of values, in place of one for all."""
    mode: Literal["direct", "prefix", "spectral"] = "direct"
    """The criterion."""
    metric: Literal["pixel", "whitened", "feature"] = "feature"
    """direct, spectral: where the distance looks. whitened and feature look at real images, see --reference."""
    edges: tuple[float, ...] = EDGES
    """spectral: the radii at which bands of frequencies meet, in half-cycles an image."""
    reference: str | None = None
    """Real images for --metric whitened and feature; by default the data that the model was trained on."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of the data that are named here, e.g. gender=male,female."""
    path: Literal["own", "shared"] = "shared"
    """prefix: each condition on its own trajectory, or both on a shared one."""
    weight: Literal["beta_eps", "g2_score"] = "g2_score"
    """prefix: the weight of the difference."""
    norm: Literal["batch", "sample"] = "sample"
    """prefix: norm over the batch (the authors') or over the sample."""
    objective: Literal["independence", "parity"] | None = None
    """Draw sets at each --tau, judge them, and choose: the tau at which a classifier trained on the set tells the label
    worst, or at which the groups differ least in all other attributes, of those that --retain the label."""
    retain: float = 0.8
    """objective: the least share of images in which an attribute classifier sees the label."""
    associated: tuple[str, ...] = ("all",)
    """objective: the other attributes of the reference that are compared, or `all`."""
    tau: tuple[float, ...] = tuple(round(0.1 * i, 1) for i in range(1, 11))
    """objective: the candidates."""
    count: int = 512
    """objective: images drawn at each candidate; they are kept beside --out."""
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet that the plot shows."""
    batch: int = 64
    """Noise samples; of more than two values they take the pairs in turn."""
    seed: int = 0
    """Seed of the noise."""
    out: Path | None = None
    """The JSON to write, with a PNG of the curve beside it; by default tau-ATTRIBUTE.json, or spectral-ATTRIBUTE.json, in the
    model's folder; under a modifier that changes tau, with its digest in the name."""

    def __post_init__(self):
        super().__post_init__()
        at_least("batch", self.batch, 1)
        at_least("seed", self.seed, 0)
        check_boundaries(self.phases)
        if self.mode == "direct" and self.steps < 2:
            raise InputError(f"--steps must be at least 2 for --mode direct, got {self.steps}")
        if self.mode != "spectral" and self.edges != EDGES:
            raise InputError(f"--edges is for --mode spectral, got --edges {self.edges} with --mode {self.mode}")
        self._check_objective()
        if self.mode == "spectral" and self.each_pair:
            raise InputError("--each-pair is for --mode direct and prefix, got it with --mode spectral")
        for modifier in self.modifiers:
            modifier.check_search(by_sets=self.objective is not None)
        if self.mode == "spectral":
            for other in self.modifiers:
                if other.remembers:
                    raise InputError(f"--mode spectral cannot follow what {other.name} remembers from step to step: drop it")

    def _check_objective(self) -> None:
        defaults = type(self).__dataclass_fields__
        for name in ("retain", "associated", "tau", "count"):
            if self.objective is None and getattr(self, name) != defaults[name].default:
                raise InputError(f"--{name} is for --objective, got --{name} {getattr(self, name)} without one")
        if self.objective and (self.mode != "direct" or self.each_pair):
            raise InputError("--objective is a way to find one tau, got --mode or --each-pair too")
        if self.start == "none" and not self.objective:
            raise InputError("--start none takes --objective: without, a search compares both directions of a switch of values")
        if not 0 <= self.retain <= 1:
            raise InputError(f"--retain must lie in [0, 1], got {self.retain}")
        if not self.tau or _distinct(self.tau) < len(self.tau):
            raise InputError(f"--tau takes times in [0, 1] that differ in the third decimal, got {self.tau}")
        at_least("count", self.count, 16)


@dataclass(frozen=True)
class Sweep(Sampling):
    """Runs the searches for tau side by side, and draws a switched set at each of many tau, for `evaluate sweep` to judge.

    The default search (direct/feature) and the authors' (prefix/own/beta_eps/batch) run at every batch size, the others at
    the largest; with --start none there is nothing to search, and the sets alone are drawn. Writes a file for each search to
    OUT/search, their curves to OUT/criterion.png, and the sets to OUT/tau-*, as `sample search` and `sample draw` would. A
    sweep that was cut off goes on where it stopped. A direct search at batch 64 takes a minute or two of a CPU, and in
    proportion; one of the prefix searches, seconds.

    Examples:

      python -m sample sweep --model runs/faces --attribute group --steps 25 --out out/sweep

      python -m sample sweep --model runs/faces --attribute group --tau 0.2 0.4 0.6 0.8 --batches 1 64 --out out/small

      python -m sample sweep --model runs/faces --start none --out out/neutral

      python -m sample sweep --model runs/utkface --reference ~/utkface --value-names gender=male,female --modes direct/feature
          prefix/own/beta_eps/batch --out out/utkface
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    out: Path
    """Folder of the sweep."""
    attribute: str | None = None
    """The sensitive attribute, or the combinations of several joined by +; by default the only one that the model has."""
    values: tuple[str, ...] = ()
    """The values to switch between, two or more; by default all."""
    start: Literal["other", "none"] = "other"
    """What a switched image starts under: another value of the attribute, or no label, which is at parity already."""
    tau: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Transition points in [0, 1], two or more; 1 never switches."""
    count: int = 1024
    """Images of each set; as many of each group."""
    batches: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Noise samples of the searches."""
    modes: tuple[Mode, ...] = MODES
    """The searches, as METRIC of a direct one or PATH/WEIGHT/NORM of a prefix one."""
    reference: str | None = None
    """Real images for direct/whitened and direct/feature; by default the data that the model was trained on."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of the reference, e.g. gender=male,female."""
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet that the plots show."""
    batch_size: int | None = None
    """Images drawn at once, by default as `draw` chooses; the images do not depend on it."""
    seed: int = 0
    """Seed of the searches and of the sets."""

    def __post_init__(self):
        super().__post_init__()
        check_boundaries(self.phases)
        for name in ("batches", "modes"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise InputError(f"{flag(name)} takes one or more, each once, got {' '.join(map(str, given)) or 'none'}")
        if min(self.batches) < 1:
            raise InputError(f"--batches must be at least 1, got {min(self.batches)}")
        if _distinct(self.tau) < max(2, len(self.tau)):
            given = " ".join(map(str, self.tau)) or "none"
            raise InputError(f"--tau takes two or more times in [0, 1] that differ in the third decimal, got {given}")
        if self.steps < 3:
            raise InputError(f"--steps must be at least 3 for a sweep, got {self.steps}")
        for modifier in self.modifiers:
            modifier.check_search(by_sets=self.start == "none")


def _distinct(taus: Sequence[float]) -> int:
    """How many times in [0, 1] differ in the third decimal, which names the folders of their sets."""
    return len({f"{tau:.3f}" for tau in taus if 0 <= tau <= 1})
