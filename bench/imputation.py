"""Imputation by networks of PyPOTS (Du 2023, arXiv 2305.18811) beside a model of series, at the same seconds of training."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.terminal import console
from jaxdiff.bounds import Bounds, Count, Seed, Size
from jaxdiff.errors import InputError

Network = Literal["saits", "csdi"]
ROWS = 512
"""Windows that PyPOTS imputes at once."""


@dataclass(frozen=True, kw_only=True)
class Imputation(CheckedOptions):
    """Trains SAITS and CSDI of PyPOTS on the training windows of a model of series, and measures the errors of imputed test
    windows: the same windows and missing values as of `jaxdiff evaluate conditions` with the same --count, --masks and --seed.

    Training takes whole epochs within --seconds of the processor, compilation and the reading of data not counted. SAITS
    learns from windows with the same share of missing values, and CSDI from whole windows, of which it hides random shares
    itself; both at the sizes of their papers, with standardised columns.

    PyPOTS needs PyTorch, and is no dependency of jaxdiff: `pip install pypots`. Writes imputation.json.

    Examples:

      python -m bench imputation --model runs/etth-imputation --seconds 1300 --out out/pypots

      python -m bench imputation --model runs/etth-imputation --networks saits --seconds 60 --out out/quick
    """

    model: Path
    """Trained model of series, whose training data are used: the folder of a run, or its model.safetensors."""
    out: Path
    """Output folder."""
    seconds: Annotated[float, Bounds(above=0)]
    """Seconds of the processor for each training."""
    networks: tuple[Network, ...] = ("saits", "csdi")
    """Networks of PyPOTS."""
    share: Annotated[float, Bounds(above=0, below=1)] = 0.7
    """Share of missing values."""
    masks: tuple[Literal["points", "gaps"], ...] = ("points", "gaps")
    """Random points, or gaps of geometric length with mean 3."""
    draws: Annotated[int, Bounds(least=19, limit=10**4)] = 19
    """Draws of CSDI, at least 19 for 90 % intervals; SAITS has one answer."""
    count: Count = 100
    """Maximum number of test windows."""
    batch_size: Size = 64
    """Windows per batch of training."""
    seed: Seed = 0
    """Random seed of windows, masks, training and draws."""


def imputation(options: Imputation) -> None:
    """Trains and measures each network, and prints a line for each kind of mask."""
    import numpy as np

    from evaluate import series_data
    from evaluate.series_imputation import LEAST, mask, measured
    from jaxdiff.data import load_arrays
    from jaxdiff.model import load
    from jaxdiff.spaces import Series

    model = load(options.model)
    if not isinstance(space := model.space, Series):
        raise InputError(f"--model takes a model of series; {options.model} is one of {space}")
    recorded = model.training
    origin = {name: recorded[name] for name in ("data", "split", "test_share")}
    train, test = series_data.real_windows(origin, space.columns, space.length)
    known = space.encode(load_arrays(train)[0])
    windows = space.encode(load_arrays(test, count=min(options.count, len(test)), seed=options.seed)[0])
    mean, deviation = known.mean(axis=(0, 1)), known.std(axis=(0, 1))
    standard = lambda x: ((x - mean) / deviation).astype(np.float32)  # noqa: E731
    unit = lambda x: (np.asarray(x, np.float64) * deviation + mean + 1) / 2  # noqa: E731
    rows = []
    for network in options.networks:
        hidden = mask("points", options.share, known.shape, options.seed) if network == "saits" else np.zeros(known.shape, bool)
        impute, epochs, seconds, parameters = _trained(options, network, np.where(hidden, np.nan, standard(known)))
        for kind in options.masks:
            missing = mask(kind, options.share, windows.shape, options.seed)
            draws = unit(impute(np.where(missing, np.nan, standard(windows))))
            # one answer has no intervals: that of its copies is left out below
            several = draws if len(draws) > 1 else np.repeat(draws, LEAST, axis=0)
            found = measured((windows.astype(np.float64) + 1) / 2, several, missing, seed=options.seed)
            row = {"network": network, "mask": kind, "epochs": epochs, "seconds": seconds, "parameters": parameters, **found}
            if len(draws) == 1:
                row["model"] = {name: value for name, value in found["model"].items() if name not in ("coverage", "width")}
                del row["model"]["intervals"]["coverage"]
            rows.append(row)
            console.print(_line(row), highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "imputation.json").write_text(json.dumps(rows, indent=2) + "\n")


def _trained(options: Imputation, network: Network, windows: Any) -> tuple[Callable, int, float, int]:
    """A network of PyPOTS: from windows with NaN to draws (S, N, L, F); its epochs, processor seconds and parameters."""
    try:
        import torch
        from pypots.imputation import CSDI, SAITS
    except ImportError as error:
        raise InputError(f"--networks {network} needs PyPOTS ({error}): pip install pypots") from error
    import numpy as np

    torch.manual_seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002, PyPOTS draws its masks from it
    _, length, features = windows.shape
    shared = {
        "n_steps": length,
        "n_features": features,
        "batch_size": options.batch_size,
        "epochs": 1,
        "device": "cpu",
        "verbose": False,
    }
    if network == "saits":
        # the base model of Du et al. 2023, arXiv 2202.08516
        model: Any = SAITS(**shared, n_layers=2, d_model=256, n_heads=4, d_k=64, d_v=64, d_ffn=128, dropout=0.1)
        times = {}
    else:
        # Tashiro et al. 2021, arXiv 2107.03502
        model = CSDI(
            **shared, n_layers=4, n_heads=8, n_channels=64, d_time_embedding=128, d_feature_embedding=16,
            d_diffusion_embedding=128,
        )  # fmt: skip
        times = {"n_sampling_times": options.draws}
    epochs, start = 0, time.process_time()
    while True:
        model.fit({"X": windows})
        epochs += 1
        spent = time.process_time() - start
        console.print(f"{network}: epoch {epochs}, {spent:.0f} of {options.seconds:g} seconds", highlight=False)
        if spent * (epochs + 1) / epochs > options.seconds:
            break

    def impute(given: Any) -> Any:
        parts = []
        for low in range(0, len(given), ROWS):
            found = np.asarray(model.predict({"X": given[low : low + ROWS]}, **times)["imputation"])
            parts.append(found[None] if found.ndim == 3 else found.swapaxes(0, 1))
        return np.concatenate(parts, axis=1)

    return impute, epochs, round(spent, 1), sum(each.numel() for each in model.model.parameters())


def _line(row: dict[str, Any]) -> str:
    low, high = row["model"]["intervals"]["mae"]
    least, most = row["ratio"]["interval"]
    text = (
        f"{row['network']}, {row['mask']}: mean absolute error {row['model']['mae']:.4f} [{low:.4f}, {high:.4f}], "
        f"ratio to linear interpolation {row['ratio']['value']:.2f} [{least:.2f}, {most:.2f}]"
    )
    if "coverage" in row["model"]:
        text += f", coverage {100 * row['model']['coverage']:.1f} %, CRPS {row['model']['crps']:.4f}"
    return text
