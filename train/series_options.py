"""Options of `jaxdiff train series`."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from jaxdiff.bounds import Bounds, Positive, Share, Size
from jaxdiff.choices import PREDICTIONS_WITHOUT_END, BridgeName, PriorName, ProcessName
from jaxdiff.errors import InputError
from jaxdiff.presets import SeriesPreset, SeriesPresetName, series_preset

from .options import RunOptions

BRIDGES, EXACT = ("bridge_vp", "bridge_ve"), ("fixed", "extremes", "ohlc", "imputation")
PAIRED = ("trend", *EXACT)
OF_PRIOR: dict[str, tuple[str, ...]] = {
    "kernel": ("gp",),
    "length_scale": ("gp",),
    "variance": ("gp",),
    "trend": ("trend",),
    "interpolation": ("imputation",),
    "missing": ("imputation",),
    "fixed_share": ("fixed",),
    "prices": ("ohlc",),
}
"""The options of priors, with the priors that take them."""


@dataclass(frozen=True)
class SeriesOptions(RunOptions):
    """Trains a model of time series: a diffusion bridge from a prior, or with --process of a diffusion model its baseline.

    Series are windows of a table, PATH.csv or PATH.parquet with options as in load.csv?time=date&columns=OT,HUFL&window=24; the
    guide on own series lists them. By default the last tenth of the rows of each series is kept for tests, and no window of the
    two splits shares a row. Windows with missing values are left out of the training.

    A run is one folder, as for `jaxdiff train`: config.json, metrics.jsonl, loss.png, previews/, checkpoints/ and
    model.safetensors, which `jaxdiff sample` loads. Run the same command again to resume.

    Examples:

      jaxdiff train series --preset sines --out runs/sines

      jaxdiff train series --preset etth --data "ETTh1.csv" --prior gp --out runs/etth

      jaxdiff train series --data "load.csv?window=48" --prior imputation --out runs/load
    """

    data: str | None = None
    """Series to train on, by default the preset's: a table, `sines` or `mujoco`."""
    preset: SeriesPresetName = "series"
    """Network architecture and training settings; other options override them."""
    split: Literal["time", "shuffled"] = "time"
    """How test windows are held out: by time, or shuffled as in published comparisons, where nearly every test window has a
    near copy in the training split."""
    test_share: Annotated[float, Bounds(above=0, below=1)] = 0.1
    """Share of rows (by time) or windows (shuffled) that are held out."""
    window: Size | None = None
    """Rows of a window; by default that of the data's name, or 24."""
    process: ProcessName | BridgeName | None = None
    """Process; see the table above. By default bridge_ve for priors that samples hold exactly, and bridge_vp for others."""
    beta_min: Positive | None = None
    """bridge_vp: beta at t = 0, by default the preset's."""
    beta_slope: Positive | None = None
    """bridge_vp: slope of beta, by default the preset's."""
    sigma_max: Positive | None = None
    """bridge_ve: noise level of its SDE at t = 1, by default 1."""
    prior: PriorName | None = None
    """Bridges: what x_T is, by default gp; see the table above."""
    kernel: Literal["rbf", "data"] | None = None
    """Prior gp: covariance over time, smooth (rbf) or that of the training series (data)."""
    length_scale: Positive | None = None
    """Prior gp: length of the rbf kernel in time steps, by default 3."""
    variance: Annotated[float, Bounds(least=0)] | None = None
    """Prior gp: variance of the rbf kernel, by default the preset's."""
    trend: Literal["butterworth", "polynomial", "linear"] | None = None
    """Prior trend: the filter."""
    interpolation: Literal["linear", "quadratic"] | None = None
    """Prior imputation: between observed values."""
    missing: tuple[Share, Share] | None = None
    """Prior imputation: range of the missing share in training, by default 0.1 0.9."""
    fixed_share: Annotated[float, Bounds(above=0, most=1)] | None = None
    """Prior fixed: share of given entries in training, by default 0.1."""
    prices: tuple[str, str, str, str] | None = None
    """Prior ohlc: the columns of opening, highest, lowest and closing prices, by default Open High Low Close."""
    end_input: bool | None = None
    """Bridges: whether x_T is an input of the network, by default for priors that are conditions, which need it."""
    prediction: Literal["x0", "eps", "v", "edm", "edm_marginal"] | None = None
    """What the network predicts: by default edm for bridges with --end-input; edm_marginal, preconditioned with x_T as a part
    of the noise, for those without, which also take x0; and x0 for other processes, as published."""
    error: Literal["absolute", "squared"] | None = None
    """Error of x_0: absolute, of its values and its Fourier transform, as the papers; or squared. By default absolute for the
    prediction x0, else squared."""
    weighting: Literal["published", "relative", "none"] = "published"
    """Loss weighting over time: that of the papers, relative to the scale of the error, or none."""
    label_dropout: Share = 0.1
    """Data with labels: probability of training a window with the null label."""
    warmup: Annotated[int, Bounds(least=0, limit=10**9)] = 500
    """Steps of linear learning-rate warm-up."""
    preview_every: Annotated[int, Bounds(least=0, limit=10**9)] = 2000
    """Steps between previews; 0 disables them."""

    def __post_init__(self):
        super().__post_init__()
        if self.data is None and self.base.data is None:
            raise InputError(f"--data is needed with --preset {self.preset}: the path of a table")
        if not self.bridge:
            for name in ("prior", "end_input"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"--{name} is for the processes {' and '.join(BRIDGES)}, got --process {self.process_name}"
                    )
        if self.prior_name == "imputation" and self.missing is not None and not self.missing[0] <= self.missing[1] < 1:
            raise InputError(f"--missing takes two ascending shares below 1, got {self.missing[0]} {self.missing[1]}")
        for name, kinds in OF_PRIOR.items():
            if getattr(self, name) is not None and self.prior_name not in kinds:
                given = f"--prior {self.prior_name}" if self.bridge else f"--process {self.process_name}"
                raise InputError(f"--{name.replace('_', '-')} is for --prior {' or '.join(kinds)}, got {given}")
        for name, kind in (("beta_min", "bridge_vp"), ("beta_slope", "bridge_vp"), ("sigma_max", "bridge_ve")):
            if getattr(self, name) is not None and self.process_name != kind:
                raise InputError(f"--{name.replace('_', '-')} is for --process {kind}, got --process {self.process_name}")
        paired = self.prior_name in PAIRED
        if self.bridge and not self.has_end_input and (paired or self.predicted not in PREDICTIONS_WITHOUT_END):
            why = f"--prior {self.prior_name}" if paired else f"--prediction {self.predicted}"
            raise InputError(f"--end-input is needed with {why}: the network must see x_T")

    @property
    def base(self) -> SeriesPreset:
        """The preset."""
        return series_preset(self.preset)

    @property
    def bridge(self) -> bool:
        """Whether the process is a bridge."""
        return self.process is None or self.process in BRIDGES

    @property
    def process_name(self) -> str:
        """The process."""
        return self.process or ("bridge_ve" if self.prior in EXACT else "bridge_vp")

    @property
    def predicted(self) -> str:
        """What the network predicts."""
        if self.prediction or not self.bridge:
            return self.prediction or "x0"
        return "edm" if self.has_end_input else "edm_marginal"

    @property
    def prior_name(self) -> PriorName | None:
        """The prior of a bridge; None for other processes."""
        return (self.prior or "gp") if self.bridge else None

    @property
    def has_end_input(self) -> bool:
        """Whether the network is told x_T."""
        return self.bridge and (self.prior_name in PAIRED if self.end_input is None else self.end_input)

    @property
    def series(self) -> str:
        """The name of the data."""
        return self.data or self.base.data or ""

    @property
    def identity(self) -> dict[str, Any]:
        """See `RunOptions.identity`."""
        return {"data": self.series, "split": self.split, "test_share": self.test_share, "window": self.window}

    @property
    def provenance(self) -> dict[str, Any]:
        """See `RunOptions.provenance`."""
        return self.identity
