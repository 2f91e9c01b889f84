"""Precision, recall, density and coverage: which images lie within the nearest neighbours' balls of which others.

Balls are closed: a point at the radius is inside, as formula 1 of Kynkäänniemi et al. (2019) has it. So a ball whose centre
has k copies has radius 0 and holds the copies and nothing else, and two identical sets have precision = recall = coverage = 1,
duplicates or not, and density (k + 1) / k, for each point is in its own ball too. Without ties, which continuous features do
not have, open balls give the same. Squared distances that differ by less than 1e-12 of the squared lengths count as ties,
or rounding would decide them.

Errors are those of half samples (Shao and Wu 1989: the jackknife that deletes half): both sets are halved at random without
replacement, and the spread over the replicates is the standard error of the whole sets' value. A bootstrap of each image's
yes or no takes the other set and the balls for given, and its 95 % intervals hold the expected value in 70 to 90 % of cases;
images drawn twice would be each other's nearest neighbours. Hoeffding's inequality for U-statistics makes half samples err to
the safe side. A share that is 0 or 1 in all half samples has the error 0.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from jaxdiff.errors import InputError
from jaxdiff.quality.estimate import Estimate, checked_pair

BLOCK = 512
"""Rows of a distance matrix that are held at once."""
TIE = 1e-12


def precision_recall(
    real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"], *, k: int = 3, replicates: int = 100, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, formula 2).

    Arguments:
        real, synthetic: at least 2 (k + 1) finite vectors each.
        k: a ball reaches to the k-th nearest neighbour in its centre's own set.
        replicates: half samples that the errors are computed of, at least 2.
        seed: of the half samples.

    Returns:
        precision: the share of synthetic images within the ball of any real one.
        recall: the share of real images within the ball of any synthetic one.

    Raises:
        InputError: too few vectors, of another length, not finite; k below 1; fewer than two replicates.
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
    """Density and coverage (Naeem et al. 2020). Arguments and errors as of `precision_recall`.

    Returns:
        density: 1/k times the mean number of real balls that hold a synthetic image: expected 1 where the distributions
            agree, above 1 where synthetic images lie where many balls overlap.
        coverage: the share of real balls that hold a synthetic image.
    """
    x, y, of_x, of_y = _prepare(real, synthetic, k, replicates, seed)
    counts, holds = _contained(x, _radii(x, k, of_x), y, of_y)
    return _estimate(_mean(counts, of_y) / k), _estimate(_mean(holds, of_x), most=1.0)


def _prepare(real, synthetic, k, replicates, seed):
    """Both sets about a common centre, and for each what the rows 0, the whole, and 1.., the half samples, have of it."""
    if k < 1 or replicates < 2:
        raise InputError(f"`k` must be at least 1 and `replicates` at least 2, got {k} and {replicates}")
    real, synthetic = checked_pair(real, synthetic, least=2 * (k + 1))
    centre = real.mean(axis=0)
    generator = np.random.default_rng(seed)
    members = []
    for count in (len(real), len(synthetic)):
        halves = generator.permuted(np.broadcast_to(np.arange(count) < count // 2, (replicates, count)), axis=1)
        members.append(np.concatenate([np.ones((1, count), bool), halves]))
    return real - centre, synthetic - centre, *members


def _radii(
    x: Float64[np.ndarray, "n d"], k: int, members: Bool[np.ndarray, "replicates n"]
) -> Float64[np.ndarray, "replicates n"]:
    """Squared distance of each member to its k-th nearest other member; -infinity, a ball without points, for the others."""
    radii = np.empty(members.shape)
    # Half of a point's neighbours are in a half sample: fewer than k of the nearest 4 k + 48 are with probability 1e-13,
    # and then the last of them stands for the k-th.
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
    """By replicate, how many balls hold each point, and whether each ball holds a point that is a member."""
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
    """Squared Euclidean distances, less `tie` of the squared lengths."""
    return (1 - tie) * (np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)) - 2 * x @ y.T


def _mean(values, members) -> Float64[np.ndarray, " replicates"]:
    """The mean over the members, by replicate."""
    return (values * members).sum(axis=1) / members.sum(axis=1)


def _estimate(values: Float64[np.ndarray, " replicates"], most: float = np.inf) -> Estimate:
    """The whole sets' value with the spread of the half samples' as its error."""
    return Estimate.within(float(values[0]), float(values[1:].std(ddof=1)), least=0.0, most=most)
