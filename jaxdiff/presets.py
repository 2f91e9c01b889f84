"""Presets: networks with training settings that work well together."""

from dataclasses import dataclass
from typing import Literal

from jaxdiff.choices import Prediction, ProcessName
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.series_config import SeriesConfig


@dataclass(frozen=True)
class Preset:
    """A network with its training settings.

    Attributes:
        about: its purpose, in a line.
        network: the network; `values` is set from the data.
        process: name of the forward process.
        prediction: what the network predicts.
        steps: training steps.
        batch_size: images a step.
        learning_rate: of AdamW.
        ema_decay: of the exponential moving average of the weights.
    """

    about: str
    network: UNetConfig
    process: ProcessName = "vp_cosine"
    prediction: Prediction = "v"
    steps: int = 10_000
    batch_size: int = 64
    learning_rate: float = 3e-4
    ema_decay: float = 0.999


PresetName = Literal["tiny", "small", "faces64", "faces128"]
PRESETS: dict[PresetName, Preset] = {
    "tiny": Preset(
        "32x32, 0.8 M parameters: the embedded faces, under an hour on two cores",
        UNetConfig(base=32, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=32, dropout=0.0, stem=2),
        steps=4_000,
        batch_size=32,
        learning_rate=6e-4,
    ),
    "small": Preset(
        "32x32, 3 M parameters: real faces, hours on a CPU, minutes on a GPU",
        UNetConfig(base=48, multipliers=(1, 2, 2), blocks=1, attention=(8,), head_channels=48, dropout=0.05, stem=2),
        steps=10_000,
        batch_size=32,
        learning_rate=4e-4,
    ),
    "faces64": Preset(
        "64x64, the paper's network (base 64, multipliers 1,2,3,4): FairFace or CelebA, about a day on one GPU",
        UNetConfig(size=64, base=64, multipliers=(1, 2, 3, 4), blocks=3, attention=(32, 16, 8), head_channels=64, dropout=0.1),
        process="ddpm_cosine",
        prediction="eps",
        steps=90_000,
        batch_size=32,
        learning_rate=5e-5,
        ema_decay=0.9995,
    ),
    "faces128": Preset(
        "128x128: base 128, multipliers 1,1,2,3,4, attention 32/16/8; several GPUs or a TPU slice",
        UNetConfig(
            size=128, base=128, multipliers=(1, 1, 2, 3, 4), blocks=2, attention=(32, 16, 8), head_channels=64, dtype="bfloat16"
        ),
        steps=300_000,
        batch_size=128,
        learning_rate=1e-4,
        ema_decay=0.9995,
    ),
}


def preset(name: str) -> Preset:
    """The preset with this name. Raises `InputError`, with the known names, for another."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; it takes one of {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class SeriesPreset:
    """A network of series with its training settings.

    Attributes:
        about: its purpose, in a line.
        data: the series, None if there are none of this name.
        network: the network; `length`, `features`, `values`, `end_input` and `known_input` are set from the data and the prior.
        beta_min, beta_slope: of the process `bridge_vp`.
        sigma_data: standard deviation of the data, for the weights of the loss.
        variance: of the prior `gp`.
        steps, batch_size: of the training.
        learning_rate: after warm-up.
        ema_decay: of the exponential moving average of the weights.
    """

    about: str
    network: SeriesConfig
    data: str | None = None
    beta_min: float = 0.2
    beta_slope: float = 10.0
    sigma_data: float = 0.5
    variance: float = 0.5
    steps: int = 12_000
    batch_size: int = 128
    learning_rate: float = 8e-4
    ema_decay: float = 0.995


def _series(encoder: int, decoder: int, width: int = 64) -> SeriesConfig:
    return SeriesConfig(length=24, features=1, width=width, heads=4, encoder=encoder, decoder=decoder)


SeriesPresetName = Literal["series", "tiny", "sines", "stocks", "etth", "energy", "mujoco"]
SERIES_PRESETS: dict[SeriesPresetName, SeriesPreset] = {
    "series": SeriesPreset("any table: 3 + 2 blocks of 64 channels", _series(3, 2)),
    "tiny": SeriesPreset(
        "sines of five frequencies, 0.17 M parameters: the shipped model, a quarter of an hour on two cores",
        _series(2, 2, 48),
        "sines",
        steps=8_000,
        batch_size=64,
    ),
    "sines": SeriesPreset("sines of five frequencies", _series(1, 2), "sines", variance=1.0),
    "stocks": SeriesPreset("daily prices and volume", _series(2, 2), sigma_data=0.1, variance=0.3, steps=10_000, batch_size=64),
    "etth": SeriesPreset("ETTh1, seven columns of a transformer station", _series(3, 2), sigma_data=0.1, steps=18_000),
    "energy": SeriesPreset(
        "energy use of a house, 28 columns", _series(4, 3, 96), sigma_data=0.05, variance=1.0, steps=25_000, batch_size=64
    ),
    "mujoco": SeriesPreset(
        "a simulated hopper, 14 columns", _series(3, 2), "mujoco", beta_min=0.1, beta_slope=5.0, variance=0.1, steps=14_000
    ),
}
"""The networks and settings of Diffusion-TS (arXiv 2403.01742) and the best released ones of TimeBridge (arXiv 2408.06672)."""


def series_preset(name: str) -> SeriesPreset:
    """The preset of series with this name. Raises `InputError`, with the known names, for another."""
    if name not in SERIES_PRESETS:
        raise InputError(f"unknown preset {name!r}; it takes one of {', '.join(SERIES_PRESETS)}")
    return SERIES_PRESETS[name]
