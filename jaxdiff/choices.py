"""The names of processes, solvers, spacings and losses, each with a one-line description.

This module imports neither JAX nor NumPy, so that the command line can show its choices and help before any array is needed.
The tests compare each table with what it describes.
"""

from typing import Literal, get_args

from jaxdiff.errors import InputError

Prediction = Literal["x0", "eps", "v", "score", "edm", "edm_marginal"]
"""What a network predicts."""
BRIDGE_PREDICTIONS: tuple[str, ...] = ("edm_marginal",)
"""The predictions of bridges alone."""
PREDICTIONS: tuple[str, ...] = tuple(each for each in get_args(Prediction) if each not in BRIDGE_PREDICTIONS)
"""The predictions that any process has."""
PREDICTIONS_WITHOUT_END: tuple[str, ...] = ("x0", *BRIDGE_PREDICTIONS)
"""What a network may predict that does not see x_T of its bridge."""

ProcessName = Literal[
    "vp_linear", "vp_cosine", "sub_vp", "ve", "edm", "flow", "ddpm_linear", "ddpm_scaled_linear", "ddpm_cosine"
]
PROCESSES: dict[ProcessName, str] = {
    "vp_linear": "variance preserving, beta linear: the score-SDE paper's VP",
    "vp_cosine": "variance preserving, cosine: the default; noise levels evenly spread over time",
    "sub_vp": "the score-SDE paper's sub-VP: better likelihoods",
    "ve": "variance exploding, 0.01 to 50: the score-SDE paper's VE; with --prediction eps or edm",
    "edm": "EDM's noise levels, 0.002 to 80; with --prediction edm --time-sampling log_normal",
    "flow": "straight interpolation, as in flow matching; with --prediction v",
    "ddpm_linear": "the table of DDPM, 1000 timesteps",
    "ddpm_scaled_linear": "the table of latent diffusion",
    "ddpm_cosine": "the cosine table of Nichol & Dhariwal: the fairness paper's",
}
"""The forward processes that are made from a name."""

BridgeName = Literal["bridge_vp", "bridge_ve"]
BRIDGES: dict[BridgeName, str] = {
    "bridge_vp": "the bridge of the variance-preserving SDE, beta linear: the default of series",
    "bridge_ve": "a Brownian bridge: for conditions that keep values, such as imputation",
}
"""The processes of series that end in a sample of a prior."""

PriorName = Literal["normal", "uniform", "moments", "gp", "trend", "fixed", "extremes", "ohlc", "imputation"]
PRIORS: dict[PriorName, str] = {
    "normal": "N(0, I)",
    "uniform": "U(-1, 1) for every entry",
    "moments": "normal, with the data's mean and standard deviation at each time and feature",
    "gp": "a Gaussian process over time for each feature, around the data's mean",
    "trend": "the trend of the series: low-pass, polynomial or linear; samples follow it softly",
    "fixed": "a few given entries, which samples keep exactly, and 0 elsewhere",
    "extremes": "the minimum and maximum of each feature and their times, which samples keep exactly",
    "ohlc": "the opening price in all price columns; samples keep it, and low <= open, close <= high",
    "imputation": "interpolation of observed values, which samples keep exactly: imputation and forecasts",
}
"""The priors of bridges."""

SolverName = Literal[
    "ddim", "ddpm", "heun", "hybrid_heun", "dpm_solver", "dpm_solver_sde", "unipc", "euler_maruyama", "predictor_corrector"
]
SOLVERS: dict[SolverName, str] = {
    "ddim": "order 1; S: the simplest, and the fairness paper's; eta > 0 adds noise",
    "ddpm": "order 1; S, with noise: the sampler of the DDPM paper; needs hundreds of steps",
    "heun": "order 2; 2 S - 1: EDM's second-order solver, two evaluations per step; churn adds noise",
    "hybrid_heun": "order 1; 3 S - 1, with noise: for bridges whose network sees x_T: each step begins with the SDE",
    "dpm_solver": "order 2; S: DPM-Solver++(2M): second order with one evaluation per step; for 10 to 30 steps",
    "dpm_solver_sde": "order 2; S, with noise: SDE-DPM-Solver++(2M): the same with noise; more robust, needs more steps",
    "unipc": "order 3; S: UniPC-2: DPM-Solver++ with a corrector at no extra evaluation; for 5 to 20 steps",
    "euler_maruyama": "order 1; S, with noise: the plain SDE solver, for comparison with papers; needs hundreds of steps",
    "predictor_corrector": "order 1; 2 S, with noise: the score-SDE paper's sampler: a Langevin corrector before each step",
}
"""The solvers: order; evaluations of the network in S steps, and whether steps draw noise: description."""

REVERSIBLE: tuple[SolverName, ...] = ("ddim", "heun")
"""The solvers that can take their steps from data to noise, where these draw no noise."""

AttackSearch = Literal["gradient", "random"]
ATTACKS: tuple[AttackSearch, ...] = get_args(AttackSearch)
"""The searches of `jaxdiff.safety.attack`."""

Spacing = Literal[
    "uniform", "log_snr", "karras", "leading", "trailing", "linspace", "leading_inner", "linspace_inner", "linspace_exact"
]
SPACINGS: dict[Spacing, str] = {
    "uniform": "uniform in t",
    "log_snr": "uniform in log SNR",
    "karras": "sigma/alpha to the power 1/7 uniform (Karras et al. 2022)",
    "leading": "DDPM tables: every T//S-th timestep, from the first",
    "trailing": "DDPM tables: every T/S-th timestep, from the last",
    "linspace": "DDPM tables: S timesteps from the first to the last",
    "leading_inner": "DDPM tables: leading with S + 1 steps, without the first timestep (diffusers' multistep solvers)",
    "linspace_inner": "DDPM tables: linspace with S + 1 steps, without the first timestep (diffusers' multistep solvers)",
    "linspace_exact": "DDPM tables: linspace without rounding to whole timesteps (diffusers' Euler and Heun)",
}
"""How the nodes of a solver are spaced in time."""

End = Literal["data", "timestep"]
ENDS: dict[End, str] = {
    "data": "t = 0, without noise",
    "timestep": "DDPM tables: the first timestep, whose noise stays (Stable Diffusion's DDIM)",
}
"""The last node of a solver."""

Weighting = Literal["simple", "likelihood", "p2", "min_snr"]
WEIGHTINGS: dict[Weighting, str] = {
    "simple": "the squared error of the prediction, unweighted",
    "likelihood": "g² on the error of the score: a bound on the likelihood (Song, Durkan et al. 2021, theorem 1)",
    "p2": "1 / (k + SNR)^gamma on the error of eps (Choi et al. 2022, eq. 8)",
    "min_snr": "min(SNR, gamma) on the error of x0 (Hang et al. 2023, section 3.4)",
}
"""Weights of the training loss over time."""

TimeSampling = Literal["stratified", "uniform", "log_normal"]
TIME_SAMPLINGS: dict[TimeSampling, str] = {
    "stratified": "one time in each of B equal parts of (0, 1]",
    "uniform": "independent and uniform in (0, 1]",
    "log_normal": "log(sigma / alpha) normal, stratified (Karras et al. 2022, table 1)",
}
"""How training times are drawn."""

Resize = Literal["tensorflow", "pytorch-fid", "clean-fid"]
"""The programs whose resize of images for the Inception network there is, see `jaxdiff.quality.resizing`."""

PHASES = ("clean-up", "content", "coarse")
"""The names of the noise phases, in order of decreasing SNR, see `jaxdiff.phases`."""
BOUNDARIES = (1.0, 1e-2)
"""The default SNR boundaries between the phases."""


def check_boundaries(boundaries: tuple[float, ...]) -> None:
    """Raises `InputError` unless there are two decreasing SNR boundaries above 0."""
    if len(boundaries) != 2 or not boundaries[0] > boundaries[1] > 0:
        raise InputError(f"phase boundaries must be two decreasing SNR above 0, got {', '.join(map(str, boundaries))}")


def table(**choices: dict[str, str]) -> str:
    """Choices as tables for `--help`, each under its title; `_` in a title stands for a space."""
    parts = []
    for title, rows in choices.items():
        parts.append("\n".join([f"{title.replace('_', ' ')}:", *(f"  {name:<20} {about}" for name, about in rows.items())]))
    return "\n\n".join(parts)
