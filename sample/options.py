"""Options of `draw`, `search` and `sweep` as dataclasses.

Methods and modifiers are objects with options of their own. The command line, which lists all options side by side, is built
from them in `command_line`.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from jaxdiff._console.arguments import image_size
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Bounds, Count, Devices, Positive, Seed, Share, Size
from jaxdiff.choices import BOUNDARIES, check_boundaries
from jaxdiff.errors import InputError

from .gate_options import GateOptions
from .methods.switching import distinct
from .methods.vanilla import Vanilla
from .registry import Method, Modifier, Slot, flag
from .solving import Solving

EDGES = (1.5, 4.0)
"""Default edges of the frequency bands of `spectral`, as radii in half-cycles per image."""
SLOTS: tuple[Slot, ...] = get_args(Slot)
Mode = Literal[
    "direct/feature",
    "direct/whitened",
    "direct/pixel",
    "direct/latent",
    "prefix/shared/g2_score/sample",
    "prefix/own/beta_eps/batch",
]
MODES: tuple[Mode, ...] = tuple(mode for mode in get_args(Mode) if mode != "direct/latent")
"""The searches that any model takes."""


@dataclass(frozen=True, kw_only=True)
class Sampling(Solving):
    """How a model is sampled: the options that `draw`, `search` and `sweep` share."""

    network_eps: bool = False
    """ddim: keep the network's own eps beside the clipped x0, as diffusers does by default. Without it eps is computed from the
    clipped x0 (diffusers' use_clipped_model_output)."""
    prompt: str | None = None
    """Text-to-image models: the prompt of all images."""
    prompts: Path | None = None
    """Text-to-image models: file of prompts, one on each line, or CSV with a column `prompt`: the values of the attribute
    `prompt`. CSV may have columns `seed` and `guidance`, the scale of classifier-free guidance. Or TOML with a template and its
    attributes, see the documentation on text-to-image."""
    negative: str | None = None
    """Text-to-image models: the negative prompt, which guidance leads away from; by default the empty prompt."""
    clip_skip: Annotated[int, Bounds(least=0, limit=100)] = 0
    """Text-to-image models: layers at the end of the text encoders that the model does not see, beside those that it never
    sees."""
    size: str | None = None
    """Text-to-image models: image size in pixels, a number or HEIGHTxWIDTH; by default that of training."""
    tile: Size | None = None
    """Text-to-image models: decode images larger than this many pixels in overlapping tiles of this height and width. It bounds
    memory, and is approximate; by default images are decoded whole, which is exact."""
    modifiers: tuple[Modifier, ...] = ()
    """Modifiers of the denoiser, at most one per slot."""

    def __post_init__(self):
        super().__post_init__()
        if self.prompt is not None and self.prompts is not None:
            raise InputError("--prompt and --prompts both give the prompts: use one of them")
        image_size(self.size)
        if self.network_eps and self.solver != "ddim":
            raise InputError(f"--network-eps is for --solver ddim, got --network-eps with {self.solver_given}")
        if self.network_eps and self.modifier("clipping"):
            raise InputError(f"--network-eps clips x0 itself and does not support {self.modifier('clipping').spelled()}")
        for slot in SLOTS:
            if len(several := [modifier.spelled() for modifier in self.modifiers if modifier.slot == slot]) > 1:
                raise InputError(f"{' and '.join(several)} cannot be combined: choose one of them")
        if self.modifier("guard") and self.modifier("guard").takes_scale:
            self.refuse_forms(f"{self.modifier('guard').spelled()} with --anchor unconditional", anchoring=True)
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
        """All sampling options by name, for another command with the same sampling."""
        return {field.name: getattr(self, field.name) for field in fields(Sampling)}

    def refuse_forms(self, what: str, *, anchoring: bool = False) -> None:
        """Raises `InputError` for variants of classifier-free guidance: `what` applies the plain form itself.

        Arguments:
            what: the method or the guard.
            anchoring: whether it applies the forms that guards can apply, too.
        """
        for slot in ("guidance", "interval"):
            other = self.modifier(slot)
            if other and other.name != "classifier_free" and not (anchoring and other.anchors):
                raise InputError(f"{what} applies plain classifier-free guidance itself and does not support {other.spelled()}")


@dataclass(frozen=True)
class Draw(GateOptions, Sampling):
    """Draws a set of images with one method, an equal number for each value of the attribute.

    switching and spectral need a transition point tau: it is read from the file written by `jaxdiff sample search`, searched
    first if there is no such file, or given with --tau. Sample i starts from the same noise under every method. Run the same
    command again to resume an interrupted set.

    Examples:

      jaxdiff sample draw --model runs/faces --method switching --attribute group --count 4096 --out out/switching

      jaxdiff sample draw --model runs/faces --method vanilla --count 4096 --out out/vanilla --format png

      jaxdiff sample draw --model runs/faces --method switching --tau 0.2 0.4 0.6 0.8 --out out/sweep

      jaxdiff sample draw --model runs/faces --method spectral --edges 1.5 4 --tau 0.94 0.8 0.6 --out out/spectral

      jaxdiff sample draw --model runs/faces --method fair_diffusion --target 0.3 0.7 --out out/fair

      jaxdiff sample draw --model runs/utkface --method switching --attribute gender+race --out out/intersections

      jaxdiff sample draw --model runs/faces --method switching --start none --tau 0.5 --out out/late

      jaxdiff sample draw --model runs/faces --unsafe embedded:glasses=yes --unsafe-count 512 --out out/safe

      jaxdiff sample draw --model runs/faces --method switching --unsafe private/ --strength 0.5 --out out/fair-and-safe

      jaxdiff sample draw --model runs/load --steps 40 --count 256 --table csv --out out/load

      jaxdiff sample draw --model runs/faces --gate embedded-clip --gate-prompts "glasses: no=no glasses | yes=with glasses"
          --gate-unsafe yes --gate-policy redraw --out out/gated
    """

    model: Path
    """Trained model: the folder of a run, or its model.safetensors."""
    out: Path
    """Output folder of the set (of one set per value, with several --tau)."""
    method: Method = Vanilla()
    """The method, with its options."""
    attribute: str | None = None
    """Sensitive attribute, or several joined by + for their combinations; by default the model's only attribute. Text-to-image
    models: "NAME: PROMPT | PROMPT ..." or "NAME: VALUE=PROMPT | VALUE=PROMPT ..."."""
    values: tuple[str, ...] = ()
    """Attribute values to draw, two or more; by default all."""
    count: Count = 1024
    """Total number of images, shared equally among the values."""
    batch_size: Size | None = None
    """Images per batch over all devices; must be a multiple of their number. By default as many as fit in accelerator memory,
    64 on CPU. The images do not depend on it."""
    seed: Seed = 0
    """Random seed; sample i is a function of (seed, i)."""
    format: Literal["npz", "png"] = "npz"
    """npz: shards of arrays; png: one file per image, with labels.csv."""
    table: Literal["csv", "parquet"] | None = None
    """Models of time series: write the windows as a table, too, windows.csv or windows.parquet in the folder of the set, with
    the columns `window` and `step`, from 0, the attributes, and the columns that the model was trained on."""
    dry_run: bool = False
    """Compile a batch, print the resolved options with its memory and compute per device, and draw nothing."""
    devices: Devices | None = None
    """With --dry-run: compile for this many devices instead of the available ones."""

    def __post_init__(self):
        super().__post_init__()
        if self.devices is not None and not self.dry_run:
            raise InputError(f"--devices needs --dry-run, got --devices {self.devices} without it")
        check_method(self)


def check_method(options: Any) -> None:
    """Raises `InputError` if the method of a command's options cannot be combined with the others."""
    method = options.method
    method.check(options)
    for modifier in options.modifiers:
        if reason := method.refuses(modifier) or modifier.incompatible.get(method.name):
            raise InputError(f"{reason}; got {method.spelled()} with {modifier.spelled()}")
    if method.takes_scale:
        options.refuse_forms(method.spelled())


@dataclass(frozen=True)
class Search(Reading, Sampling):
    """Finds the transition point tau at which switched samples depend least on the attribute value they started with.

    Direct search (--mode direct) compares the two switched outputs of the same noise: in pixels, in whitened pixels, or in the
    features of a classifier first trained on real images (the default). tau is the vertex of a parabola through the best grid
    point and its two neighbours, which has a lower variance than the best grid point. --mode prefix is the criterion of the
    paper; --path own --weight beta_eps --norm batch is the authors' setting. --mode spectral finds a tau for each frequency
    band with the same distances (--metric pixel: within each band). On real faces a pixel distance finds the wrong tau; the
    documentation compares the criteria.

    With more than two values, all pairs share one tau unless --each-pair is given. --objective instead draws a set at each of
    several tau, evaluates the sets with attribute classifiers, and chooses the best; this takes longer. A tau is valid only
    for the solver, steps, spacing, guidance and modifiers that it was found with.

    Examples:

      jaxdiff sample search --model runs/faces --attribute group

      jaxdiff sample search --model runs/utkface --attribute gender --reference ~/utkface --value-names gender=male,female

      jaxdiff sample search --model runs/utkface --mode prefix --path own --weight beta_eps --norm batch --out authors.json

      jaxdiff sample search --model runs/faces --mode spectral --edges 1.5 4

      jaxdiff sample search --model runs/faces --objective parity --retain 0.8 --start none

      jaxdiff sample search --model runs/utkface --attribute gender+race --values female+Black female+White male+Black
          male+White --each-pair

      jaxdiff sample search --model runs/faces --attribute group --unsafe private/ --window 0 inf
    """

    model: Path
    """Trained model: the folder of a run, or its model.safetensors."""
    attribute: str | None = None
    """Sensitive attribute, or several joined by + for their combinations; by default the model's only attribute. Text-to-image
    models: "NAME: PROMPT | PROMPT ..." or "NAME: VALUE=PROMPT | VALUE=PROMPT ..."."""
    values: tuple[str, ...] = ()
    """Attribute values to switch between, two or more; by default all."""
    start: Literal["other", "none"] = "other"
    """The condition that sampling starts with: another attribute value, or the null label."""
    each_pair: bool = False
    """Find a tau for each pair of values instead of one for all."""
    mode: Literal["direct", "prefix", "spectral"] = "direct"
    """Search criterion, described above."""
    metric: Literal["pixel", "whitened", "feature", "latent"] = "feature"
    """direct, spectral: the space in which distances are measured. whitened and feature need real images, see --reference.
    Of a text-to-image model all but latent are measured on decoded images."""
    edges: tuple[Positive, ...] = EDGES
    """spectral: edges of the frequency bands, as radii in half-cycles per image."""
    reference: str | None = None
    """Real images for --metric whitened and feature; by default the model's training data."""
    path: Literal["own", "shared"] = "shared"
    """prefix: one trajectory per condition (own), or one for both (shared)."""
    weight: Literal["beta_eps", "g2_score"] = "g2_score"
    """prefix: weight of the difference between the conditions over time."""
    norm: Literal["batch", "sample"] = "sample"
    """prefix: norm over the whole batch (the authors' choice) or per sample."""
    objective: Literal["independence", "parity"] | None = None
    """Draw a set at each --tau, evaluate it with attribute classifiers, and choose among the tau whose label accuracy is at
    least --retain. independence: where a classifier trained on the set predicts the label least well. parity: where the groups
    differ least in all other attributes."""
    retain: Share = 0.8
    """objective: minimum label accuracy, the share of images in which an attribute classifier predicts the label, in [0, 1]."""
    associated: tuple[str, ...] = ("all",)
    """objective: other attributes of the reference data to compare between the groups, or `all`."""
    tau: tuple[Share, ...] = tuple(round(0.1 * i, 1) for i in range(1, 11))
    """objective: candidate transition points, in [0, 1]."""
    count: Annotated[int, Bounds(least=16, limit=10**8)] = 512
    """objective: images drawn at each candidate, at least 16; the sets are stored next to --out."""
    phases: tuple[Positive, Positive] = BOUNDARIES
    """SNR values that separate the noise phases shown in the plot."""
    batch: Size = 64
    """Number of noise samples; with more than two values the pairs are assigned to them in turn."""
    seed: Seed = 0
    """Random seed of the noise."""
    out: Path | None = None
    """JSON file to write, with a plot of the criterion next to it (.png). By default tau-ATTRIBUTE.json, or
    spectral-ATTRIBUTE.json, in the model's folder; with modifiers that change tau, their digest is added to the name."""

    def __post_init__(self):
        super().__post_init__()
        check_boundaries(self.phases)
        if self.mode == "direct" and self.steps < 2:
            raise InputError(f"--steps must be at least 2 for --mode direct, got {self.steps}")
        if self.mode != "spectral" and self.edges != EDGES:
            raise InputError(f"--edges is for --mode spectral, got --edges {self.edges} with --mode {self.mode}")
        self._check_objective()
        if self.mode == "spectral" and self.each_pair:
            raise InputError("--each-pair is for --mode direct and prefix, got --each-pair with --mode spectral")
        for modifier in self.modifiers:
            modifier.check_search(by_sets=self.objective is not None)
        if self.mode == "spectral":
            for other in self.modifiers:
                if other.stateful:
                    raise InputError(f"--mode spectral does not support {other.spelled()}, which keeps state between steps")

    def _check_objective(self) -> None:
        defaults = type(self).__dataclass_fields__
        for name in ("retain", "associated", "tau", "count"):
            if self.objective is None and getattr(self, name) != defaults[name].default:
                raise InputError(f"--{name} needs --objective, got --{name} {getattr(self, name)} without it")
        if self.objective and (self.mode != "direct" or self.each_pair):
            raise InputError("--objective finds a single tau and cannot be combined with --mode or --each-pair")
        if self.start == "none" and not self.objective:
            raise InputError(
                "--start none needs --objective: other searches compare both directions of a switch between values"
            )
        if not self.tau or distinct(self.tau) < len(self.tau):
            raise InputError(f"--tau takes times in [0, 1] that differ in the first three decimals, got {self.tau}")


@dataclass(frozen=True)
class Sweep(Reading, Sampling):
    """Compares the search criteria, and draws a switched set at each of many tau for `jaxdiff evaluate sweep`.

    The default search (direct/feature) and the authors' (prefix/own/beta_eps/batch) run at every batch size, the others at the
    largest only. With --start none there is no search: only the sets are drawn. Writes one file per search to OUT/search, their
    curves to OUT/criterion.png, and the sets to OUT/tau-*, in the formats of `sample search` and `sample draw`. Run the same
    command again to resume an interrupted sweep. On CPU a direct search at batch 64 takes one to two minutes, proportionally
    more at larger batches; a prefix search takes seconds.

    Examples:

      jaxdiff sample sweep --model runs/faces --attribute group --steps 25 --out out/sweep

      jaxdiff sample sweep --model runs/faces --attribute group --tau 0.2 0.4 0.6 0.8 --batches 1 64 --out out/small

      jaxdiff sample sweep --model runs/faces --start none --out out/neutral

      jaxdiff sample sweep --model runs/utkface --reference ~/utkface --value-names gender=male,female --modes direct/feature
          prefix/own/beta_eps/batch --out out/utkface
    """

    model: Path
    """Trained model: the folder of a run, or its model.safetensors."""
    out: Path
    """Output folder of the sweep."""
    attribute: str | None = None
    """Sensitive attribute, or several joined by + for their combinations; by default the model's only attribute. Text-to-image
    models: "NAME: PROMPT | PROMPT ..." or "NAME: VALUE=PROMPT | VALUE=PROMPT ..."."""
    values: tuple[str, ...] = ()
    """Attribute values to switch between, two or more; by default all."""
    start: Literal["other", "none"] = "other"
    """The condition that sampling starts with: another attribute value, or the null label."""
    tau: tuple[Share, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Transition points in [0, 1], two or more."""
    count: Count = 1024
    """Images in each set, shared equally among the values."""
    batches: tuple[Size, ...] = (1, 4, 16, 64, 256)
    """Numbers of noise samples to search with."""
    modes: tuple[Mode, ...] = MODES
    """Searches to run: direct/METRIC or prefix/PATH/WEIGHT/NORM, with the options of `sample search`. By default all but
    direct/latent, which is for models of latents, such as text-to-image models."""
    reference: str | None = None
    """Real images for direct/whitened and direct/feature; by default the model's training data."""
    phases: tuple[Positive, Positive] = BOUNDARIES
    """SNR values that separate the noise phases shown in the plots."""
    batch_size: Size | None = None
    """Images per batch; by default chosen as `sample draw` does. The images do not depend on it."""
    seed: Seed = 0
    """Random seed of the searches and the sets."""

    def __post_init__(self):
        super().__post_init__()
        check_boundaries(self.phases)
        for name in ("batches", "modes"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise InputError(f"{flag(name)} takes one or more different values, got {' '.join(map(str, given)) or 'none'}")
        if distinct(self.tau) < max(2, len(self.tau)):
            given = " ".join(map(str, self.tau)) or "none"
            raise InputError(f"--tau takes two or more times in [0, 1] that differ in the first three decimals, got {given}")
        if self.steps < 3:
            raise InputError(f"--steps must be at least 3 for a sweep, got {self.steps}")
        for modifier in self.modifiers:
            modifier.check_search(by_sets=self.start == "none")
