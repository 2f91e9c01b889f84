"""What `jaxdiff train` takes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxdiff._console.arguments import image_size
from jaxdiff._console.hosts import Hosts
from jaxdiff.choices import BOUNDARIES, ProcessName, TimeSampling, Weighting, check_boundaries
from jaxdiff.errors import InputError
from jaxdiff.presets import PresetName, preset

FEWEST = 100  # held-out images of a split, below which a calibration error tells nothing


@dataclass(frozen=True)
class RunOptions(Hosts):
    """What a run takes, whatever it trains."""

    out: Path
    """Folder of the run."""
    data: str = "embedded"
    """`embedded`, a folder or .zip of images with labels.csv, an .npz with images and labels, or tfds:NAME."""
    preset: PresetName = "tiny"
    """Network and training; the options below override its parts."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels, e.g. gender=male,female."""
    process: ProcessName | None = None
    """Forward process; the table above says what each is for."""
    zero_terminal_snr: bool = False
    """ddpm tables: rescale them to end in pure noise; for v and x0."""
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
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet, by which the loss is told."""
    size: str | None = None
    """Image size in pixels, a number or HEIGHTxWIDTH: images are centre-cropped and resized to it."""
    channels: Literal[1, 3, 4] | None = None
    """Channels of the images: 1 (grey), 3 (RGB) or 4 (RGB and transparency); by default those of the data."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Computation type; parameters are float32."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    accumulate: int = 1
    """Parts that each batch goes through in, one after another: less memory, the same steps."""
    flip: bool = True
    """Mirror images at random."""
    seed: int = 0
    """Seed of weights, noise and data order."""
    log_every: int = 20
    """Steps between two lines of metrics.jsonl."""
    save_minutes: float = 5.0
    """Minutes between two checkpoints; the last step is always saved."""
    dry_run: bool = False
    """Compile the step and print what it takes, by the compiler's own account, without training."""
    devices: int | None = None
    """With --dry-run: compile for so many devices, in place of those that there are."""

    def __post_init__(self):
        image_size(self.size)
        for name in ("steps", "batch_size", "log_every", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        for name in ("seed", "warmup", "save_minutes"):
            if not getattr(self, name) >= 0:
                raise InputError(f"--{name.replace('_', '-')} must be at least 0, got {getattr(self, name)}")
        if self.devices is not None and not self.dry_run:
            raise InputError(f"--devices is for --dry-run, got {self.devices} without it")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise InputError(f"--ema-decay must lie in [0, 1), got {self.ema_decay}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise InputError(f"--learning-rate must be above 0, got {self.learning_rate}")
        if self.zero_terminal_snr and not self.process_name.startswith("ddpm_"):
            raise InputError(f"--zero-terminal-snr is for the ddpm tables, got --process {self.process_name}")
        check_boundaries(self.phases)

    @property
    def process_name(self) -> ProcessName:
        """The forward process, by default the preset's."""
        return self.process or preset(self.preset).process


@dataclass(frozen=True)
class Options(RunOptions):
    """Trains a diffusion model on images, conditioned on their labels or, with --unconditional, on nothing.

    A run lives in one folder: config.json, metrics.jsonl (a line every few steps), loss.png, previews/ (images drawn on
    the way), checkpoints/ (to resume from) and model.safetensors (the averaged weights, which `jaxdiff sample` reads).
    Started again with the same options, it goes on where it stopped, to exactly the state of a run that was never
    stopped. Ctrl-C or SIGTERM saves first.

    `jaxdiff train classifier --help` is about classifiers of noised images, whose odds weigh the safe denoiser;
    `jaxdiff train export --help` and `jaxdiff train import --help` are about models of diffusers and guided-diffusion.

    Examples:

      jaxdiff train --preset tiny --data embedded --attributes group --out runs/faces

      jaxdiff train --preset small --data ~/utkface --attributes gender --value-names gender=male,female --out runs/utkface

      jaxdiff train --data ~/xrays --size 24x40 --channels 1 --unconditional --out runs/xrays

      jaxdiff train --preset faces64 --data "tfds:celeb_a_manual?manual_dir=~/celeba" --attributes male --out runs/celeba
          --dtype bfloat16
    """

    attributes: tuple[str, ...] = ()
    """Attributes that condition the model (their label embeddings add up); by default `group`, or the only one there is."""
    unconditional: bool = False
    """Train without labels: the model can be drawn, guarded and evaluated, but not switched from a value to another."""
    prediction: Literal["eps", "v", "x0", "edm"] | None = None
    """What the network predicts; edm is EDM's preconditioned x0."""
    weighting: Weighting = "simple"
    """Weight of the loss over time; the table above says which is what."""
    p2_gamma: float = 1.0
    """gamma of p2."""
    p2_k: float = 1.0
    """k of p2."""
    min_snr_gamma: float = 5.0
    """gamma of min_snr."""
    time_sampling: TimeSampling = "stratified"
    """How training times are drawn."""
    level_mean: float = -1.2
    """log_normal: mean of log(sigma / alpha)."""
    level_std: float = 1.2
    """log_normal: its standard deviation."""
    label_dropout: float = 0.1
    """Share of images trained without labels, so that guidance works."""
    attribute_dropout: float = 0.5
    """Of several attributes: probability that each label is hidden on its own, for sampling by one of them alone."""
    preview_every: int = 1000
    """Steps between two preview grids; 0 draws none."""

    def __post_init__(self):
        super().__post_init__()
        if self.preview_every < 0:
            raise InputError(f"--preview-every must be at least 0, got {self.preview_every}")
        if self.unconditional and self.attributes:
            raise InputError(f"--unconditional takes no --attributes, got {' '.join(self.attributes)}")


@dataclass(frozen=True)
class ClassifierOptions(RunOptions):
    """Trains a classifier of noised images: what is the value of an attribute, given an image at any level of noise?

    Its odds weigh the safe denoiser (`jaxdiff.load_classifier(OUT).log_odds(("yes",))`). They are used as numbers, so at the
    end a temperature for each level of noise is fitted on the validation split, and the table tells, of the test split, how
    good they are: the log loss beside that of the prior, and the calibration error beside what chance alone gives a
    perfectly calibrated classifier on as many images.

    A run lives in one folder, as one of `jaxdiff train` does: config.json, metrics.jsonl, loss.png, calibration.png,
    calibration.json (the table), checkpoints/ and classifier.safetensors. It is resumed the same way.

    Examples:

      jaxdiff train classifier --data embedded --attribute glasses --model runs/faces --out runs/glasses

      jaxdiff train classifier --preset small --data ~/utkface --attribute gender --value-names gender=male,female
          --process vp_cosine --out runs/gender
    """

    attribute: str = field(kw_only=True)
    """The attribute that it tells."""
    model: Path | None = None
    """A trained model, whose process, image size and channels the classifier takes: it is for this model's samples."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    held_out: int = 4096
    """Images taken of the validation and of the test split, at most."""

    def __post_init__(self):
        super().__post_init__()
        if self.held_out < FEWEST:
            raise InputError(f"--held-out must be at least {FEWEST}, got {self.held_out}")
        if not self.weight_decay >= 0:
            raise InputError(f"--weight-decay must be at least 0, got {self.weight_decay}")
        given = [name for name in ("process", "zero_terminal_snr", "size", "channels") if getattr(self, name)]
        if self.model is not None and given:
            raise InputError(f"--model {self.model} gives process, size and channels: leave --{given[0].replace('_', '-')} out")
        if (Path(self.data).expanduser() / "samples.json").is_file():
            raise InputError(f"--data {self.data} is a folder of samples, which has no held-out images to calibrate on")
