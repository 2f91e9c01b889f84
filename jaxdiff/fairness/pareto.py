"""The parity curve: how near to parity the other attributes come at each share of images that keep their label."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jaxdiff.errors import InputError


@dataclass(frozen=True)
class ParityCurve:
    """The best of several settings, where more labels kept and a smaller difference are both better. `parity_curve` makes one.

    Fields:
        front: the positions of the settings that no other dominates, by ascending share of labels kept.
        hypervolume: the area that the settings dominate, up to the reference; at most (1 - reference[0]) reference[1].
        reference: share of labels kept and difference of the worst point that counts.
    """

    front: Int[np.ndarray, " f"]
    hypervolume: float
    reference: tuple[float, float]


def parity_curve(
    kept: Float[np.ndarray, " n"], differences: Float[np.ndarray, " n"], *, values: int, largest: float = 1.0
) -> ParityCurve:
    """The Pareto front of label kept and difference between the groups, and the area that it dominates.

    A setting dominates another if it keeps at least as many labels at no larger difference, and is better in one; of equal ones
    the first is on the front. The area (hypervolume indicator, Zitzler and Thiele 1999) is that of all (r, d) with r from 1/K,
    the share that random labels keep, to that of some setting, and d from its difference to `largest`. It is exact, and does
    not change with a dominated setting.

    Arguments:
        kept: the share of images that show their label, of each setting (N,), in [0, 1].
        differences: the mean or the largest difference of other attributes (N,), in [0, 1].
        values: number of labels, K.
        largest: the difference of the reference.

    Raises:
        InputError: no settings, numbers that are not finite, or fewer than two labels.
    """
    if not len(kept) or not (np.isfinite(kept).all() and np.isfinite(differences).all()):
        raise InputError(f"`kept` and `differences` must be finite and at least one, got {kept} and {differences}")
    if values < 2:
        raise InputError(f"`values` must be at least 2, got {values}")
    reference = 1 / values, largest
    front: list[int] = []
    # from the most labels kept down, every smaller difference is on the front
    for i in np.lexsort((np.arange(len(kept)), differences, -np.asarray(kept))):
        if not front or differences[i] < differences[front[-1]]:
            front.append(int(i))
    area, height = 0.0, largest
    for i in front:
        area += max(kept[i] - reference[0], 0.0) * max(height - differences[i], 0.0)
        height = min(height, differences[i])
    return ParityCurve(np.array(front[::-1], np.int64), float(area), reference)
