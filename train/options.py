"""What `python -m train` takes, and what it resolves to."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxdiff import process as processes
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.unet import UNetConfig
from jaxdiff.phases import BOUNDARIES
from jaxdiff.presets import PRESETS, preset
from jaxdiff.process import PROCESSES, Process
from jaxdiff.training import TIME_SAMPLINGS, WEIGHTINGS, Objective, Optimization


@dataclass(frozen=True)
class Options:
    """Trains a class-conditional diffusion model on labelled images.

    A run lives in one folder: config.json, metrics.jsonl (a line every few steps), loss.png, previews/ (images drawn on
    the way), checkpoints/ (to resume from) and model.safetensors (the averaged weights, which `python -m sample` reads).
    Started again with the same options, it goes on where it stopped, to exactly the state of a run that was never
    stopped. Ctrl-C or SIGTERM saves first.

    Examples:

      python -m train --preset tiny --data embedded --attributes group --out runs/faces

      python -m train --preset small --data ~/utkface --attributes gender --value-names gender=male,female --out runs/utkface

      python -m train --preset faces64 --data "tfds:celeb_a_manual?manual_dir=~/celeba" --attributes male --out runs/celeba
          --dtype bfloat16
    """

    out: Path
    """Folder of the run."""
    data: str = "embedded"
    """`embedded`, a folder or .zip of images with labels.csv, an .npz with images and labels, or tfds:NAME."""
    preset: Literal["tiny", "small", "faces64", "faces128"] = "tiny"
    """Network and training; the options below override its parts."""
    attributes: tuple[str, ...] = ()
    """Attributes that condition the model (their label embeddings add up); by default `group`, or the only one there is."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels, e.g. gender=male,female."""
    process: (
        Literal["vp_linear", "vp_cosine", "sub_vp", "ve", "edm", "flow", "ddpm_linear", "ddpm_scaled_linear", "ddpm_cosine"]
        | None
    ) = None
    """Forward process; the table above says what each is for."""
    zero_terminal_snr: bool = False
    """ddpm tables: rescale them to end in pure noise; for v and x0."""
    prediction: Literal["eps", "v", "x0", "edm"] | None = None
    """What the network predicts; edm is EDM's preconditioned x0."""
    weighting: Literal["simple", "likelihood", "p2", "min_snr"] = "simple"
    """Weight of the loss over time; the table above says which is what."""
    p2_gamma: float = 1.0
    """gamma of p2."""
    p2_k: float = 1.0
    """k of p2."""
    min_snr_gamma: float = 5.0
    """gamma of min_snr."""
    time_sampling: Literal["stratified", "uniform", "log_normal"] = "stratified"
    """How training times are drawn."""
    level_mean: float = -1.2
    """log_normal: mean of log(sigma / alpha)."""
    level_std: float = 1.2
    """log_normal: its standard deviation."""
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet, by which the loss is told."""
    steps: int | None = None
    """Training steps in all."""
    batch_size: int | None = None
    """Images a step."""
    learning_rate: float | None = None
    """Learning rate of AdamW after warm-up."""
    warmup: int = 200
    """Steps of linear warm-up."""
    ema_decay: float | None = None
    """Decay of the average of the weights."""
    label_dropout: float = 0.1
    """Share of images trained without labels, so that guidance works."""
    attribute_dropout: float = 0.5
    """Of several attributes: probability that each label is hidden on its own, for sampling by one of them alone."""
    size: int | None = None
    """Image size in pixels: images are centre-cropped and resized to it."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Computation type; parameters are float32."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    flip: bool = True
    """Mirror images at random."""
    seed: int = 0
    """Seed of weights, noise and data order."""
    log_every: int = 20
    """Steps between two lines of metrics.jsonl."""
    save_minutes: float = 5.0
    """Minutes between two checkpoints; the last step is always saved."""
    preview_every: int = 1000
    """Steps between two preview grids; 0 draws none."""

    def __post_init__(self):
        for name in ("steps", "batch_size", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        for name in ("seed", "warmup", "save_minutes", "preview_every"):
            if not getattr(self, name) >= 0:
                raise InputError(f"--{name.replace('_', '-')} must be at least 0, got {getattr(self, name)}")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise InputError(f"--ema-decay must lie in [0, 1), got {self.ema_decay}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise InputError(f"--learning-rate must be above 0, got {self.learning_rate}")


@dataclass(frozen=True)
class Resolved:
    """The options with all that the preset and the data fill in."""

    network: UNetConfig
    process: Process
    objective: Objective
    optimization: Optimization
    steps: int
    batch_size: int

    def config(self, options: Options, attributes: tuple[Attribute, ...]) -> dict[str, Any]:
        """What makes two runs the same run, JSON-ready. The number of steps and what is only told on the way are left out."""
        return {
            "data": options.data,
            "attributes": [[attribute.name, list(attribute.values)] for attribute in attributes],
            "preset": options.preset,
            "network": _plain(self.network),
            "process": self.process.config(),
            "objective": _plain(self.objective),
            "optimization": _plain(self.optimization),
            "batch_size": self.batch_size,
            "flip": options.flip,
            "seed": options.seed,
        }


def _plain(config) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(config).items()}


def image_size(options: Options) -> int:
    """The size that the images are brought to."""
    return options.size or preset(options.preset).network.size


def resolve(options: Options, attributes: tuple[Attribute, ...]) -> Resolved:
    """Fills the options in from the preset and the data's attributes."""
    base = PRESETS[options.preset]
    pick = lambda name: base.__getattribute__(name) if getattr(options, name) is None else getattr(options, name)  # noqa: E731
    network = dataclasses.replace(
        base.network,
        size=image_size(options),
        values=tuple(len(attribute.values) for attribute in attributes),
        dtype=options.dtype or base.network.dtype,
        remat=options.remat,
    )
    objective = Objective(
        prediction=pick("prediction"),
        weighting=options.weighting,
        p2_gamma=options.p2_gamma,
        p2_k=options.p2_k,
        min_snr_gamma=options.min_snr_gamma,
        label_dropout=options.label_dropout,
        attribute_dropout=options.attribute_dropout,
        time_sampling=options.time_sampling,
        level_mean=options.level_mean,
        level_std=options.level_std,
        phases=options.phases,
    )
    optimization = Optimization(learning_rate=pick("learning_rate"), warmup=options.warmup, ema_decay=pick("ema_decay"))
    table = {"zero_terminal_snr": True} if options.zero_terminal_snr else {}
    if table and not pick("process").startswith("ddpm_"):
        raise InputError(f"--zero-terminal-snr is for the ddpm tables, got --process {pick('process')}")
    if table and pick("prediction") == "eps":
        raise InputError("--zero-terminal-snr takes --prediction v, x0 or edm: at pure noise eps says nothing of the image")
    process = processes.from_config({"name": pick("process"), **table})
    return Resolved(network, process, objective, optimization, pick("steps"), pick("batch_size"))


PROCESS_USES = {
    "vp_linear": "variance preserving, beta linear: the score-SDE paper's VP",
    "vp_cosine": "variance preserving, cosine: the default; spends its time evenly over noise levels",
    "sub_vp": "the score-SDE paper's sub-VP: better likelihoods",
    "ve": "variance exploding, 0.01 to 50: the score-SDE paper's VE; with --prediction eps or edm",
    "edm": "EDM's noise levels, 0.002 to 80; with --prediction edm --time-sampling log_normal",
    "flow": "straight interpolation, as in flow matching; with --prediction v",
    "ddpm_linear": "the table of DDPM, 1000 timesteps",
    "ddpm_scaled_linear": "the table of latent diffusion",
    "ddpm_cosine": "the cosine table of Nichol & Dhariwal: the fairness paper's",
}


def table() -> str:
    """The processes, weightings and time samplings as tables for `--help`."""
    parts = {"Processes": PROCESS_USES, "Weightings": WEIGHTINGS, "Time samplings": TIME_SAMPLINGS}
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:<20} {about}" for name, about in rows.items())]) for title, rows in parts.items()
    )


assert set(PROCESSES) == set(PROCESS_USES)
assert set(PRESETS) == {"tiny", "small", "faces64", "faces128"}
