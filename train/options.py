"""Options of `jaxdiff train`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Hosts
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Bounds, Devices, Finite, NonNegative, Positive, Seed, Share, Size, Steps, Unlimited
from jaxdiff.choices import BOUNDARIES, ProcessName, TimeSampling, Weighting, check_boundaries
from jaxdiff.errors import InputError
from jaxdiff.presets import PresetName, preset

FEWEST = 100  # images of a held-out split below which a calibration error is meaningless


@dataclass(frozen=True)
class RunOptions(Hosts):
    """Options of every training run."""

    out: Path
    """Output folder of the run; an existing run with the same options is resumed."""
    steps: Steps | None = None
    """Total number of training steps, by default the preset's."""
    batch_size: Size | None = None
    """Samples per step over all devices, by default the preset's."""
    learning_rate: Positive | None = None
    """Learning rate of AdamW after warm-up, by default the preset's."""
    warmup: Annotated[int, Bounds(least=0, limit=10**9)] = 200
    """Steps of linear learning-rate warm-up."""
    ema_decay: Annotated[float, Bounds(least=0, below=1)] | None = None
    """Decay of the exponential moving average of the weights, in [0, 1); by default the preset's."""
    phases: tuple[Positive, Positive] = BOUNDARIES
    """SNR values that separate the noise phases for which the loss is logged."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Computation dtype, by default the preset's; parameters are always float32."""
    accumulate: Size = 1
    """Gradient accumulation: number of sequential parts of each batch. Less memory, the same training steps."""
    seed: Seed = 0
    """Random seed of weights, noise and data order."""
    log_every: Steps = 20
    """Steps between lines of metrics.jsonl."""
    save_minutes: Unlimited = 5.0
    """Minutes between checkpoints; the last step is always saved."""
    dry_run: bool = False
    """Compile a training step, print its memory and compute per device, and do not train."""
    devices: Devices | None = None
    """With --dry-run: compile for this many devices instead of the available ones."""

    def __post_init__(self):
        super().__post_init__()
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")
        if self.devices is not None and not self.dry_run:
            raise InputError(f"--devices needs --dry-run, got --devices {self.devices} without it")
        check_boundaries(self.phases)

    @property
    def mirrored(self) -> bool:
        """Whether samples are mirrored at random."""
        return False

    @property
    def identity(self) -> dict[str, Any]:
        """Further settings that must match to resume a run, JSON-ready."""
        return {}

    @property
    def provenance(self) -> dict[str, Any]:
        """How the data are read, JSON-ready."""
        return {}


@dataclass(frozen=True)
class ImageOptions(RunOptions, Reading):
    """Options of training runs on images."""

    data: str = "embedded"
    """Training data: `embedded`, tfds:NAME, or a folder, .zip, .tar, .npz or .parquet of images; the guide on own data
    lists the layouts."""
    preset: PresetName = "tiny"
    """Network architecture and training settings; other options override them."""
    process: ProcessName | None = None
    """Forward process, by default the preset's; see the table above."""
    zero_terminal_snr: bool = False
    """ddpm processes: rescale the schedule to an SNR of 0 at the last timestep; needs --prediction v, x0 or edm."""
    size: str | None = None
    """Image size in pixels, a number or HEIGHTxWIDTH; images are centre-cropped and resized to it. By default the preset's."""
    channels: Literal[1, 3, 4] | None = None
    """Image channels: 1 (grey), 3 (RGB) or 4 (RGBA); by default as in the data."""
    remat: bool = False
    """Recompute whole blocks in the backward pass (gradient checkpointing): less memory on GPUs and TPUs, about a third more
    time. On CPUs it saves nothing."""
    flip: bool = True
    """Mirror images horizontally at random; turn off for digits and letters."""

    def __post_init__(self):
        super().__post_init__()
        image_size(self.size)
        if self.zero_terminal_snr and not self.process_name.startswith("ddpm_"):
            raise InputError(f"--zero-terminal-snr needs a ddpm process, got --process {self.process_name}")

    @property
    def process_name(self) -> ProcessName:
        """Name of the forward process, by default the preset's."""
        return self.process or preset(self.preset).process

    @property
    def mirrored(self) -> bool:
        """See `RunOptions.mirrored`."""
        return self.flip

    @property
    def identity(self) -> dict[str, Any]:
        """See `RunOptions.identity`."""
        return {"flip": self.flip}

    @property
    def provenance(self) -> dict[str, Any]:
        """See `RunOptions.provenance`."""
        given = None if self.range is None else list(self.range)
        return {"value_names": list(self.value_names), "layout": self.layout, "range": given}


@dataclass(frozen=True)
class Options(ImageOptions):
    """Trains a diffusion model on images, conditioned on their labels or, with --unconditional, without labels.

    A run is one folder: config.json, metrics.jsonl (a line every --log-every steps), loss.png, previews/ (sample grids during
    training), checkpoints/ (to resume from) and model.safetensors (the averaged weights, which `jaxdiff sample` loads). Run the
    same command again to resume; the result is identical to an uninterrupted run. Ctrl-C or SIGTERM saves before stopping.

    See also `jaxdiff train classifier --help` for classifiers of noised images, which weight the safe denoiser, and
    `jaxdiff train export --help` and `jaxdiff train import --help` for models of diffusers and guided-diffusion.

    Examples:

      jaxdiff train --preset tiny --data embedded --attributes group --out runs/faces

      jaxdiff train --preset small --data ~/utkface --attributes gender --value-names gender=male,female --out runs/utkface

      jaxdiff train --data ~/xrays --size 24x40 --channels 1 --unconditional --out runs/xrays

      jaxdiff train --preset faces64 --data "tfds:celeb_a_manual?manual_dir=~/celeba" --attributes male --out runs/celeba
          --dtype bfloat16
    """

    attributes: tuple[str, ...] = ()
    """Attributes that condition the model (their embeddings are added); by default `group` for embedded data, else the only
    one."""
    unconditional: bool = False
    """Train without labels. The model can be sampled, guarded and evaluated, but methods that use labels need them."""
    prediction: Literal["eps", "v", "x0", "edm"] | None = None
    """Prediction type of the network, by default the preset's; edm is x0 with EDM's preconditioning."""
    weighting: Weighting = "simple"
    """Loss weighting over time; see the table above."""
    p2_gamma: NonNegative = 1.0
    """p2 weighting: gamma."""
    p2_k: NonNegative = 1.0
    """p2 weighting: k."""
    min_snr_gamma: Positive = 5.0
    """min_snr weighting: gamma."""
    time_sampling: TimeSampling = "stratified"
    """Distribution of training times; see the table above."""
    level_mean: Finite = -1.2
    """log_normal time sampling: mean of log(sigma / alpha)."""
    level_std: Positive = 1.2
    """log_normal time sampling: standard deviation of log(sigma / alpha)."""
    label_dropout: Share = 0.1
    """Probability of training an image with the null label, which classifier-free guidance needs; in [0, 1]."""
    attribute_dropout: Share = 0.5
    """With several attributes: probability of hiding each label independently, to sample with some of them; in [0, 1]."""
    preview_every: Annotated[int, Bounds(least=0, limit=10**9)] = 1000
    """Steps between preview grids; 0 disables them."""

    def __post_init__(self):
        super().__post_init__()
        if self.unconditional and self.attributes:
            raise InputError(f"--unconditional takes no --attributes, got {' '.join(self.attributes)}")


@dataclass(frozen=True)
class ClassifierOptions(ImageOptions):
    """Trains a classifier of noised images, which predicts an attribute's value at any noise level.

    Its odds weight the safe denoiser: `jaxdiff sample draw --classifier OUT`, or `load_classifier(OUT).log_odds(("yes",))`
    in Python. Since the probabilities matter, a temperature for each noise level is fitted on the validation split at the end.
    The printed table shows the log loss on the test split compared with that of the prior, and the calibration error compared
    with the error that a perfectly calibrated classifier has by chance with as many images.

    A run is one folder, as for `jaxdiff train`: config.json, metrics.jsonl, loss.png, calibration.png, calibration.json (the
    table), checkpoints/ and classifier.safetensors. Run the same command again to resume.

    Examples:

      jaxdiff train classifier --data embedded --attribute glasses --model runs/faces --out runs/glasses

      jaxdiff train classifier --preset small --data ~/utkface --attribute gender --value-names gender=male,female
          --process vp_cosine --out runs/gender
    """

    attribute: str = field(kw_only=True)
    """Attribute to predict, or several joined by +: every combination of their values is then a value."""
    model: Path | None = None
    """Trained model to use the classifier with; sets process, image size and channels."""
    weight_decay: NonNegative = 0.05
    """Weight decay of AdamW."""
    held_out: Annotated[int, Bounds(least=FEWEST, limit=10**8)] = 4096
    """Maximum number of images used of each of the validation and test splits, at least 100."""

    def __post_init__(self):
        super().__post_init__()
        given = [name for name in ("process", "zero_terminal_snr", "size", "channels") if getattr(self, name)]
        if self.model is not None and given:
            raise InputError(f"--model {self.model} sets process, size and channels: remove --{given[0].replace('_', '-')}")
        if (Path(self.data).expanduser() / "samples.json").is_file():
            raise InputError(f"--data {self.data} is a set of samples, which has no held-out split to calibrate on")
