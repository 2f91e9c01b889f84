"""Windows of a simulated hopper: positions and velocities of dm_control's one-legged robot, which falls from random states.

The series of Latent ODEs (Rubanova, Chen, Duvenaud, 2019), which later papers took: 14 columns, seven positions (the first two
of the body, metres) and seven velocities. The first two positions start uniform in [0, 0.5], the other five in [-2, 2], the
velocities in [-5, 5]; then the simulation runs without control, a row for each of its steps of 5 ms.

Needs dm_control, the extra `mujoco`: `pip install 'jaxdiff[mujoco]'`.
"""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int32

from jaxdiff.data.attributes import Attribute
from jaxdiff.data.series.options import whole_number
from jaxdiff.errors import InputError

OPTIONS = ("count", "length", "seed")
"""The options of `mujoco`, as in `mujoco?count=10000&length=24&seed=0`."""
_LARGEST = {"count": 10**6, "length": 10**4, "seed": 2**32 - 1}


@dataclass(frozen=True)
class Hopper:
    """Which windows.

    Attributes:
        count: the number of windows.
        length: rows of a window.
        seed: of the initial states; window i is a function of (seed, i, length) and of the versions of MuJoCo and dm_control.
    """

    count: int = 10_000
    length: int = 24
    seed: int = 0
    features: ClassVar[int] = 14
    attributes: ClassVar[tuple[Attribute, ...]] = ()

    def __post_init__(self):
        for name, most in _LARGEST.items():
            least = 0 if name == "seed" else 1
            if not least <= getattr(self, name) <= most:
                raise InputError(
                    f"`{name}` of mujoco must be a whole number from {least} to {most:,}, got {getattr(self, name)}"
                )

    @staticmethod
    def of_options(given: Mapping[str, str]) -> "Hopper":
        """The windows with these options, in their texts.

        Raises:
            InputError: an option is unknown, or its value is invalid.
        """
        if unknown := next((name for name in given if name not in OPTIONS), None):
            raise InputError(f"unknown option {unknown!r} of mujoco; it takes {', '.join(OPTIONS)}")
        return Hopper(**{name: whole_number(name, text) for name, text in given.items()})

    def labels(self) -> Int32[np.ndarray, "n 0"]:
        """No labels, int32 (N, 0)."""
        return np.zeros((self.count, 0), np.int32)

    def windows(self) -> Float[np.ndarray, "n length 14"]:
        """All windows, float64 (N, L, 14).

        Raises:
            InputError: dm_control is not installed, or does not load with the MuJoCo that is.
        """
        physics = self.simulation()
        rows = np.empty((self.count, self.length, self.features))
        for i, window in enumerate(rows):
            rng = np.random.default_rng((self.seed, i))
            with physics.reset_context():
                physics.data.qpos[:2] = rng.uniform(0, 0.5, 2)
                physics.data.qpos[2:] = rng.uniform(-2, 2, 5)
                physics.data.qvel[:] = rng.uniform(-5, 5, 7)
            for row in window:
                row[:7], row[7:] = physics.data.qpos, physics.data.qvel
                physics.step()
        return rows

    @staticmethod
    @cache
    def simulation() -> Any:
        """The physics of dm_control's hopper. Raises `InputError` if they cannot be loaded."""
        os.environ.setdefault("MUJOCO_GL", "disabled")  # nothing is rendered, and machines without a display warn
        try:
            suite = importlib.import_module("dm_control.suite")
        except ImportError as error:
            raise InputError("series of 'mujoco' need dm_control: pip install 'jaxdiff[mujoco]'") from error
        try:
            return suite.load("hopper", "stand").physics
        except AttributeError as error:  # dm_control 1.0.50 takes any later MuJoCo, and does not load with 4.0
            raise InputError(
                f"dm_control does not load with the MuJoCo that is installed ({error}): pip install 'mujoco<4'"
            ) from error
