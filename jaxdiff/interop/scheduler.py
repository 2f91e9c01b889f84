"""Conversion between the `scheduler_config.json` of diffusers and our process and prediction.

`read` uses the settings of training: the table of betas and the prediction. `grids` reads where diffusers' samplers place their
timesteps; clipping and order are chosen by the solver.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.process import DDPM_BETAS, MOST_TIMESTEPS, Prediction, Process, ddpm, ddpm_betas

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
# diffusers' schedulers whose process is a table of betas.
WITH_TABLE = {
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
}
# diffusers' names of the schedules in `DDPM_BETAS`.
SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
BETAS: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "linear": np.linspace,
    "scaled_linear": lambda start, end, count: np.linspace(start**0.5, end**0.5, count) ** 2,
    "squaredcos_cap_v2": lambda start, end, count: DDPM_BETAS["cosine"](count),
    "sigmoid": lambda start, end, count: (end - start) / (1 + np.exp(-np.linspace(-6, 6, count))) + start,
}
FIRST, LAST, TIMESTEPS = 1e-4, 0.02, 1000  # the defaults of beta_start, beta_end and num_train_timesteps


def read(given: Mapping[str, Any], name: str = "scheduler_config.json") -> tuple[Process, Prediction]:
    """The process and the prediction of a scheduler.

    Arguments:
        given: the `scheduler_config.json`.
        name: its name in errors.

    Raises:
        InputError: the scheduler has no table of betas, or the schedule or the prediction is unknown.
    """
    kind = given.get("_class_name", "DDPMScheduler")
    if not isinstance(kind, str) or kind not in WITH_TABLE:
        raise InputError(
            f"{name} is of {str(kind)[:100]}, whose process is not a table of betas; jaxdiff reads "
            f"{', '.join(sorted(WITH_TABLE))}"
        )
    # older files only record whether the prediction is eps
    predicted = given.get("prediction_type", "epsilon" if given.get("predict_epsilon", True) else "sample")
    if not isinstance(predicted, str) or predicted not in PREDICTIONS:
        raise InputError(f"{name}: prediction_type is {shortened(predicted)}; jaxdiff reads {', '.join(PREDICTIONS)}")
    return _process(given, name), PREDICTIONS[predicted]


def _process(given: Mapping[str, Any], name: str) -> Process:
    zero, trained = bool(given.get("rescale_betas_zero_snr", False)), given.get("trained_betas")
    schedule, count = given.get("beta_schedule", "linear"), given.get("num_train_timesteps", TIMESTEPS)
    start, end = given.get("beta_start", FIRST), given.get("beta_end", LAST)
    number = lambda value: type(value) in (int, float)  # noqa: E731
    if trained is not None:
        if not isinstance(trained, list | tuple) or not all(map(number, trained)):
            raise InputError(f"{name}: trained_betas must be a list of numbers")
        return ddpm_betas(trained, zero)
    if not isinstance(schedule, str) or schedule not in BETAS:
        raise InputError(f"{name}: beta_schedule is {shortened(schedule)}; jaxdiff reads {', '.join(BETAS)} and trained_betas")
    if type(count) is not int or not 1 <= count <= MOST_TIMESTEPS:
        wanted = f"a whole number from 1 to {MOST_TIMESTEPS:,}"
        raise InputError(f"{name} must have num_train_timesteps, {wanted}, got {shortened(count)}")
    if not (number(start) and number(end) and 0 < start <= end < 1):
        got = f"{shortened(start)} and {shortened(end)}"
        raise InputError(f"{name} must have 0 < beta_start <= beta_end < 1, got {got}")
    betas = BETAS[schedule](start, end, count)
    ours = next((our for our, their in SCHEDULES.items() if their == schedule), None)
    if ours is not None and count >= 30 and np.array_equal(betas, DDPM_BETAS[ours](count)):
        return ddpm(ours, count, zero)
    return ddpm_betas(betas.tolist(), zero)


def grids(given: Mapping[str, Any], name: str = "scheduler_config.json") -> dict[str, dict[str, Any]]:
    """Where diffusers' samplers made from a scheduler's file place their timesteps: arguments of our solvers, by solver.

    diffusers' classes differ in what they do with one file, and in its defaults. `ddim` has DDIM's grid, or Euler's if the
    file is of a scheduler that steps in sigma / alpha, since Euler's step is DDIM's.

    Arguments:
        given: the `scheduler_config.json`.
        name: its name in errors.

    Raises:
        InputError: the spacing is unknown, or the offset is not a whole number from 0.
    """
    spacing, offset = given.get("timestep_spacing"), given.get("steps_offset", 0)
    if spacing not in (None, "leading", "linspace", "trailing"):
        raise InputError(f"{name}: timestep_spacing is {shortened(spacing)}; jaxdiff reads leading, linspace and trailing")
    if type(offset) is not int or not 0 <= offset < MOST_TIMESTEPS:
        raise InputError(f"{name}: steps_offset must be a whole number from 0, got {shortened(offset)}")
    ends_noisy = given.get("final_sigmas_type", "zero") == "sigma_min"
    multistep = _grid(spacing or "linspace", offset, _INNER, noisy=ends_noisy)
    in_sigma = _grid(spacing or "linspace", offset, _EXACT, noisy=ends_noisy)
    ddim = _grid(spacing or "leading", offset, {}, noisy=not given.get("set_alpha_to_one", True))
    return {
        "ddim": in_sigma if str(given.get("_class_name")).startswith(_IN_SIGMA) else ddim,
        "ddpm": _grid(spacing or "leading", offset, {}, noisy=False),
        "dpm_solver": multistep,
        "dpm_solver_sde": multistep,
        "heun": _grid(spacing or "linspace", offset, _EXACT, noisy=False),
        "unipc": multistep,
    }


# Our names of the spacings of diffusers' multistep solvers, and of those that step in sigma / alpha, where these differ.
_INNER = {"leading": "leading_inner", "linspace": "linspace_inner"}
_EXACT = {"linspace": "linspace_exact"}
_IN_SIGMA = ("Euler", "Heun", "KDPM2", "LMS")


def _grid(spacing: str, offset: int, names: Mapping[str, str], *, noisy: bool) -> dict[str, Any]:
    """The arguments of a solver, those that are not defaults.

    Arguments:
        spacing, offset: as in the file.
        names: our names of the spacings, where they differ.
        noisy: whether the last step ends at the first timestep instead of the data.
    """
    shifted = {"offset": offset} if offset and spacing == "leading" else {}
    return {"spacing": names.get(spacing, spacing), **shifted, **({"end": "timestep"} if noisy else {})}


def written(
    process: Process, prediction: Prediction, timesteps: int, placed: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The `scheduler_config.json` of a DDIMScheduler for a process, or of an EulerDiscreteScheduler if `ddim` has its grid.

    A known table is written as its name, any other process as its betas at t = 1 / T, 2 / T, .. 1.

    Arguments:
        process: a variance-preserving process.
        prediction: `eps`, `v` or `x0`.
        timesteps: T, the number of timesteps.
        placed: the grids of the solvers, as from `grids`; by default our uniform grid, which is `trailing` there, of data that
            are clipped to [-1, 1].

    Raises:
        InputError: the process, the prediction or the grids have no counterpart.
    """
    if not process.preserves_variance:
        raise InputError(f"diffusers' DDIMScheduler preserves variance, process {process.name} does not")
    names = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    if prediction not in names:
        raise InputError(
            f"diffusers' DDIMScheduler takes networks that predict {', '.join(names)}; this one predicts {prediction}"
        )
    own = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": timesteps,
        **_betas(process, timesteps),
        "prediction_type": names[prediction],
        "clip_sample": placed is None,
        "clip_sample_range": 1.0,
    }
    if placed is None:
        return own | {"set_alpha_to_one": True, "steps_offset": 0, "timestep_spacing": "trailing"}
    return own | _placing(placed)


def _placing(placed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings from which `grids` reads these grids."""
    offsets = sorted({0, *(grid.get("offset", 0) for grid in placed.values())})
    # without a spacing, each class of diffusers has its own
    spacings = ({}, *({"timestep_spacing": name} for name in ("leading", "linspace", "trailing")))
    ends = ({}, {"final_sigmas_type": "sigma_min"})
    for name, clean, end, spacing, offset in product(("DDIM", "EulerDiscrete"), (True, False), ends, spacings, offsets):
        settings = {"_class_name": f"{name}Scheduler", "set_alpha_to_one": clean, "steps_offset": offset, **spacing, **end}
        if grids(settings) == placed:
            return settings
    raise InputError("the grids of the model are those of no scheduler of diffusers")


def _betas(process: Process, timesteps: int) -> dict[str, Any]:
    """The settings of the table."""
    zero = bool(process.config().get("zero_terminal_snr", False))
    schedule = process.name.removeprefix("ddpm_")
    if process.timesteps == timesteps and schedule in SCHEDULES:
        betas = DDPM_BETAS[schedule](timesteps)
        ends = {"beta_start": float(betas[0]), "beta_end": float(betas[-1])} if schedule != "cosine" else {}
        return {"beta_schedule": SCHEDULES[schedule], **ends, "trained_betas": None, "rescale_betas_zero_snr": zero}
    if process.timesteps == timesteps and schedule == "betas":
        return {"trained_betas": process.config()["betas"], "rescale_betas_zero_snr": zero}
    # the difference telescopes: abar is that of the process at each node, to its rounding
    log_alpha = np.asarray(process.log_alpha(np.arange(timesteps + 1) / timesteps), np.float64)
    return {"trained_betas": (-np.expm1(2 * np.diff(log_alpha))).tolist(), "rescale_betas_zero_snr": False}
