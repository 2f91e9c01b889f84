"""The real-versus-real floor: what a measure finds between two sets of real windows of the same sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from jaxdiff.errors import InputError

Result = TypeVar("Result")


@dataclass(frozen=True)
class WithFloor(Generic[Result]):
    """The result of `with_floor`.

    Fields:
        value: the measure between real and synthetic windows.
        floor: the same measure between real windows and other real windows.
        count: the windows in each of the sets.
    """

    value: Result
    floor: Result
    count: int


def with_floor(
    measure: Callable[[np.ndarray, np.ndarray], Result],
    real: Float[np.ndarray, "n l f"],
    synthetic: Float[np.ndarray, "m k g"],
    held_out: Float[np.ndarray, "h i j"] | None = None,
    *,
    seed: int = 0,
) -> WithFloor[Result]:
    """A measure between real and synthetic windows, beside the same measure between real windows alone, at the same sizes.

    Without held-out windows the real ones are halved at random: value = measure(first half, synthetic) and floor =
    measure(first half, second half). With them: value = measure(real, synthetic) and floor = measure(real, held_out). Of each
    set as many windows are drawn without replacement as the smallest has.

    Windows that overlap, as with a stride below their length, are nearly in both halves: their floor is one that only a copy of
    the data can reach. Held-out windows of another time give the floor of a generator that has learnt the distribution, if that
    does not change with time.

    Arguments:
        measure: a function of (real, synthetic), e.g. `correlational_distance`.
        real: windows (N, L, F); two or more where they are halved.
        synthetic: windows (M, L, F).
        held_out: real windows (H, L, F) that are not in `real`, or None.
        seed: of the halves and of the draws.

    Raises:
        InputError: too few windows, or windows of other lengths or features.
    """
    taken = floor_windows(real, synthetic, held_out, seed=seed)
    return WithFloor(measure(taken.real, taken.synthetic), measure(taken.real, taken.other), len(taken.real))


class FloorWindows(NamedTuple):
    """What `with_floor` compares: sets of as many windows each.

    Fields:
        real: real windows (n, L, F).
        other: other real windows (n, L, F).
        synthetic: synthetic ones (n, L, F).
    """

    real: Float[np.ndarray, "n l f"]
    other: Float[np.ndarray, "n l f"]
    synthetic: Float[np.ndarray, "n l f"]


def floor_windows(
    real: Float[np.ndarray, "n l f"],
    synthetic: Float[np.ndarray, "m k g"],
    held_out: Float[np.ndarray, "h i j"] | None = None,
    *,
    seed: int = 0,
) -> FloorWindows:
    """The windows that `with_floor` measures, for programs that measure them part by part; its arguments and errors.

    The real windows of two synthetic sets are the same where their numbers are.
    """
    others = [synthetic] if held_out is None else [synthetic, held_out]
    if any(each.shape[1:] != real.shape[1:] for each in others) or len(real) < (2 if held_out is None else 1):
        given = ", ".join(str(each.shape) for each in (real, *others))
        raise InputError(
            "`real`, `synthetic` and `held_out` must be windows of one length and the same features, with two or more real "
            f"ones if none are held out, got shapes {given}"
        )
    generator = np.random.default_rng(seed)
    if held_out is None:
        order = generator.permutation(len(real))
        real, held_out = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    count = min(len(real), len(held_out), len(synthetic))
    if not count:
        raise InputError("`synthetic` and `held_out` must be at least one window each, got none")
    return FloorWindows(
        *(each[np.sort(generator.choice(len(each), count, replace=False))] for each in (real, held_out, synthetic))
    )
