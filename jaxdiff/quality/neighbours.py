"""Precision, recall, density and coverage, from the balls around each image that reach to its k-th nearest neighbour.

Balls are closed: a point at the radius is inside, as in formula 1 of Kynkäänniemi et al. (2019). So a ball whose centre has k
copies has radius 0 and contains only the copies, and two identical sets have precision = recall = coverage = 1, with or without
duplicates, and density (k + 1) / k, since each point is in its own ball too. Without ties, which continuous features do not
have, open balls give the same. Squared distances that differ by less than 1e-12 of the squared lengths count as ties, so that
rounding does not break them.

Errors are those of half samples (Shao and Wu 1989: the delete-half jackknife): both sets are halved at random without
replacement, and the standard deviation over the replicates is the standard error of the whole sets' value. A bootstrap of each
image's indicator ignores the sampling of the other set and of the balls, and its 95 % intervals cover the expected value in 70
to 90 % of cases; in a bootstrap of the images, duplicates would be each other's nearest neighbours. By Hoeffding's inequality
for U-statistics half samples are conservative. A share that is 0 or 1 in all half samples has the error 0.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped

from jaxdiff.errors import InputError
from jaxdiff.quality.estimate import Estimate, checked_pair

BLOCK = 512
"""Rows of a distance matrix computed at once."""
TIE = 1e-12
"""Relative difference of squared distances that count as equal."""


def precision_recall(
    real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"], *, k: int = 3, replicates: int = 100, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, formula 2).

    Arguments:
        real, synthetic: at least 2 (k + 1) finite vectors each.
        k: each ball reaches to the k-th nearest neighbour of its centre in the same set, at least 1.
        replicates: half samples for the errors, at least 2.
        seed: of the half samples.

    Returns:
        precision: the share of synthetic images within the ball of any real one.
        recall: the share of real images within the ball of any synthetic one.

    Raises:
        InputError: too few vectors, unequal lengths, values that are not finite; k below 1; fewer than two replicates.
    """
    x, y, of_x, of_y = _prepare(real, synthetic, k, replicates, seed)
    shares = []
    for centres, of_centres, points, of_points in ((x, of_x, y, of_y), (y, of_y, x, of_x)):
        counts, _ = _contained(centres, _radii(centres, k, of_centres), points, of_points)
        shares.append(_estimate(_mean(counts > 0, of_points), most=1.0))
    return shares[0], shares[1]


def density_coverage(
    real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"], *, k: int = 5, replicates: int = 100, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Density and coverage (Naeem et al. 2020). Arguments and errors as in `precision_recall`.

    Returns:
        density: 1/k times the mean number of real balls that contain a synthetic image: expected 1 for equal distributions,
            above 1 where synthetic images concentrate where many balls overlap.
        coverage: the share of real balls that contain a synthetic image.
    """
    x, y, of_x, of_y = _prepare(real, synthetic, k, replicates, seed)
    counts, holds = _contained(x, _radii(x, k, of_x), y, of_y)
    return _estimate(_mean(counts, of_y) / k), _estimate(_mean(holds, of_x), most=1.0)


def _prepare(
    real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"], k: int, replicates: int, seed: int
) -> tuple[Float64[np.ndarray, "n d"], Float64[np.ndarray, "m d"], Bool[np.ndarray, "r n"], Bool[np.ndarray, "r m"]]:
    """Both sets, centred, and the members of their samples: row 0 is the whole set, the others are the half samples."""
    if k < 1 or replicates < 2:
        raise InputError(f"`k` must be at least 1 and `replicates` at least 2, got {k} and {replicates}")
    real, synthetic = checked_pair(real, synthetic, least=2 * (k + 1))
    centre = real.mean(axis=0)
    generator = np.random.default_rng(seed)
    members = []
    for count in (len(real), len(synthetic)):
        halves = generator.permuted(np.broadcast_to(np.arange(count) < count // 2, (replicates, count)), axis=1)
        members.append(np.concatenate([np.ones((1, count), bool), halves]))
    return real - centre, synthetic - centre, members[0], members[1]


def _radii(
    x: Float64[np.ndarray, "n d"], k: int, members: Bool[np.ndarray, "replicates n"]
) -> Float64[np.ndarray, "replicates n"]:
    """Squared distance of each member to its k-th nearest other member; -infinity (an empty ball) for non-members."""
    radii = np.empty(members.shape)
    # Half of a point's neighbours are in a half sample: fewer than k of the nearest 4 k + 48 with probability 1e-13, and then
    # the last of them is taken for the k-th.
    nearest = min(4 * k + 48, len(x) - 1)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        squares = _squares(x[part], x, 0.0)
        rows = np.arange(len(squares))
        squares[rows, start + rows] = np.inf
        order = np.argpartition(squares, nearest - 1, axis=1)[:, :nearest]
        order = np.take_along_axis(order, np.take_along_axis(squares, order, axis=1).argsort(axis=1), axis=1)
        ordered = np.take_along_axis(squares, order, axis=1)
        for replicate, member in enumerate(members):
            place = (member[order].cumsum(axis=1) < k).sum(axis=1)
            radii[replicate, part] = ordered[rows, np.minimum(place, nearest - 1)]
    return np.where(members, radii, -np.inf)


def _contained(
    centres: Float64[np.ndarray, "n d"],
    radii: Float64[np.ndarray, "replicates n"],
    points: Float64[np.ndarray, "m d"],
    members: Bool[np.ndarray, "replicates m"],
) -> tuple[Int[np.ndarray, "replicates m"], Bool[np.ndarray, "replicates n"]]:
    """By replicate, the number of balls that contain each point, and whether each ball contains a member."""
    counts, holds = np.zeros(members.shape, np.int64), np.empty(radii.shape, bool)
    for start in range(0, len(centres), BLOCK):
        part = slice(start, start + BLOCK)
        squares = _squares(centres[part], points, TIE)
        for replicate, member in enumerate(members):
            inside = squares <= radii[replicate, part, None]
            counts[replicate] += inside.sum(axis=0)
            holds[replicate, part] = (inside & member).any(axis=1)
    return counts, holds


def _squares(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"], tie: float) -> Float64[np.ndarray, "n m"]:
    """Squared Euclidean distances, reduced by `tie` times the squared lengths."""
    return (1 - tie) * (np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)) - 2 * x @ y.T


def _mean(
    values: Shaped[np.ndarray, "replicates n"], members: Bool[np.ndarray, "replicates n"]
) -> Float64[np.ndarray, " replicates"]:
    """The mean over the members, by replicate."""
    return (values * members).sum(axis=1) / members.sum(axis=1)


def _estimate(values: Float64[np.ndarray, " replicates"], most: float = np.inf) -> Estimate:
    """The value of the whole sets, with the standard deviation over the half samples as its error."""
    return Estimate.normal(float(values[0]), float(values[1:].std(ddof=1)), least=0.0, most=most)
