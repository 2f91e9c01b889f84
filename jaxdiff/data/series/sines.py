"""Sines: generated series that need no file, of TimeGAN (Yoon, Jarrett, van der Schaar, 2019), whose distribution is known.

Value j of feature k of window i is (1 + sin(f j + φ)) / 2 with a frequency f and a phase φ of its own, both uniform in [0, 0.1]
radians a step: slow curves, less than half an oscillation in 24 steps.

With labels, frequency and phase depend on two classes that every window has. `speed` is slow or fast, with equal probabilities:
f of all features is uniform in the lower or in the upper half of [0, 0.1]. `start` is low or high: φ of all features is uniform
in the lower or in the upper half. P(high | slow) and P(high | fast) are an option, 0.2 and 0.8: the association that fair
sampling removes.

Window i is a function of (seed, i, options) alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int32

from jaxdiff.data.attributes import Attribute
from jaxdiff.data.embedded import uniform
from jaxdiff.data.series.options import whole_number
from jaxdiff.errors import InputError

ATTRIBUTES = (Attribute("speed", ("slow", "fast")), Attribute("start", ("low", "high")))
"""The attributes of labelled windows."""
HIGHEST = 0.1
"""The largest frequency, in radians a step, and the largest phase, in radians."""
OPTIONS = ("count", "length", "features", "seed", "label", "start")
"""The options of `sines`, as in `sines?count=10000&length=24&features=5&seed=0&label=yes&start=0.2,0.8`."""
_LARGEST = {"count": 10**7, "length": 10**5, "features": 10**3, "seed": 2**64 - 1}
_LABELS = 10**6
"""The streams of the classes; those of the features are below."""


@dataclass(frozen=True)
class Sines:
    """Which sines.

    Attributes:
        count: the number of windows.
        length: rows of a window, L.
        features: columns, F.
        seed: of the windows.
        labelled: whether windows have classes.
        start: P(start is high) of slow and of fast windows.
    """

    count: int = 10_000
    length: int = 24
    features: int = 5
    seed: int = 0
    labelled: bool = False
    start: tuple[float, float] = (0.2, 0.8)

    def __post_init__(self):
        for name, most in _LARGEST.items():
            least = 0 if name == "seed" else 1
            if not least <= getattr(self, name) <= most:
                raise InputError(
                    f"`{name}` of sines must be a whole number from {least} to {most:,}, got {getattr(self, name)}"
                )
        if not all(0 <= share <= 1 for share in self.start):
            raise InputError(f"`start` of sines must be two probabilities, of slow and of fast windows, got {self.start}")
        if self.count * self.length * self.features > 2**31:
            raise InputError(f"sines of {self.count:,} x {self.length} x {self.features} values are more than {2**31:,}")

    @staticmethod
    def of_options(given: Mapping[str, str]) -> "Sines":
        """The sines with these options, in their texts.

        Raises:
            InputError: an option is unknown, or its value is invalid.
        """
        if unknown := next((name for name in given if name not in OPTIONS), None):
            raise InputError(f"unknown option {unknown!r} of sines; they take {', '.join(OPTIONS)}")
        numbers = {name: whole_number(name, text) for name, text in given.items() if name in _LARGEST}
        labelled = given.get("label", "no")
        if labelled not in ("yes", "no"):
            raise InputError(f"`label` of sines must be yes or no, got {labelled!r}")
        if "start" in given and labelled == "no":
            raise InputError("`start` of sines needs label=yes")
        try:
            slow, fast = map(float, given.get("start", "0.2,0.8").split(","))
        except ValueError as error:
            raise InputError(f"`start` of sines must be two probabilities, such as 0.2,0.8, got {given['start']!r}") from error
        return Sines(**numbers, labelled=labelled == "yes", start=(slow, fast))

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes of the windows."""
        return ATTRIBUTES if self.labelled else ()

    def labels(self) -> Int32[np.ndarray, "n a"]:
        """The labels of all windows, int32 (N, A)."""
        if not self.labelled:
            return np.zeros((self.count, 0), np.int32)
        every = np.arange(self.count)
        fast = uniform(every, _LABELS, self.seed) < 0.5
        high = uniform(every, _LABELS + 1, self.seed) < np.where(fast, self.start[1], self.start[0])
        return np.stack([fast, high], axis=1).astype(np.int32)

    def windows(self) -> Float[np.ndarray, "n length f"]:
        """All windows, float64 (N, L, F) in [0, 1]."""
        labels = self.labels()
        columns = []
        for feature in range(self.features):
            frequency, phase = (HIGHEST * self._number(2 * feature + which, labels, which) for which in range(2))
            columns.append((1 + np.sin(frequency[:, None] * np.arange(self.length) + phase[:, None])) / 2)
        return np.stack(columns, axis=2)

    def _number(self, stream: int, labels: Int[np.ndarray, "n a"], which: int) -> Float[np.ndarray, " n"]:
        """Uniform numbers in [0, 1), or in the half that the class of each window says."""
        number = uniform(np.arange(self.count), stream, self.seed)
        return (labels[:, which] + number) / 2 if self.labelled else number
