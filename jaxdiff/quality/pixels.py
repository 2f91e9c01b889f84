"""Exact distances between 8-bit images, or between windows of series, and nearest neighbours."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Shaped, UInt8

from jaxdiff.errors import InputError

ROWS = 512
"""Maximum number of rows of a distance matrix computed at once."""
COLUMNS = 4096
"""Images converted to floating point at once."""
ENTRIES = 1 << 25
"""Maximum number of entries of a distance matrix computed at once."""
EXACT = 1024
"""Number of products of centred grey levels, at most 2^14 each, whose sum is exact in float32: at most 2^24."""


@dataclass(frozen=True)
class Neighbours:
    """The K nearest images to each of N images, or windows of series, in order of distance.

    Fields:
        distances: root mean square over pixels and channels, in grey levels; of windows over rows and columns, in the unit of
            the windows (N, K).
        indices: of the neighbours, in 0..M-1 (N, K). The first of equally near images comes first; the order of later ties is
            unspecified.
        mirrored: whether the neighbour's mirror image is the nearer one (N, K).
    """

    distances: Float64[np.ndarray, "n k"]
    indices: Int[np.ndarray, "n k"]
    mirrored: Bool[np.ndarray, "n k"]


def neighbours(
    points: Shaped[np.ndarray, "n ..."],
    others: Shaped[np.ndarray, "m ..."] | None = None,
    count: int = 1,
    *,
    flips: bool = False,
    groups: Int[np.ndarray, " m"] | None = None,
    advance: Callable[[int], object] | None = None,
) -> Neighbours:
    """The nearest of other images to each image, by exact distances.

    Squared distances of 8-bit images are integers: products are summed in float32 while that is exact, and those sums in
    float64, which is exact below 2^53. Of floating-point windows of series, neighbours are found by products in float64, and
    their distances are then sums of squared differences: 0 for equal windows alone. Memory is bounded by `ENTRIES`.

    Arguments:
        points: at least one image, uint8 (N, H, W, C), or window, floating point and finite (N, L, F).
        others: at least `count` (M, H, W, C) or (M, L, F); None compares each image with the other `points`.
        count: K, the number of neighbours, at least 1.
        flips: of images, use the smaller of the distances to an image and to its mirror image, left to right.
        groups: a group for each of `others` (M,); only the nearest image of each group is a neighbour.
        advance: called with the number of `points` done since the last call.

    Raises:
        InputError: too few images or groups, images of different sizes, or mirrored windows.
    """
    exact = points.dtype == np.uint8
    if flips and not exact:
        raise InputError("`flips` is for images, and windows of series have no mirror images")
    known = points if others is None else others
    if not len(points) or not len(known) or known.shape[1:] != points.shape[1:]:
        raise InputError(f"`points` and `others` must be images of one size, got shapes {points.shape} and {known.shape}")
    there = len(known) - (others is None) if groups is None else len(np.unique(groups))
    if not 1 <= count <= there:
        kind = "images" if groups is None else "groups"
        raise InputError(f"`count` must be within 1 and the {there} other {kind} of one size, got {count}")
    groups_of_many = None if groups is None else _Groups.from_labels(groups)
    shape = (len(points), count)
    squares, indices, mirrored = np.empty(shape), np.empty(shape, np.int64), np.zeros(shape, bool)
    step = int(np.clip(ENTRIES // len(known), 1, ROWS))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        block = _squares(points[part], known)
        turned = None
        if flips:
            # the distance to a mirror image is that of the mirror image
            other = _squares(points[part, :, ::-1], known)
            turned = other < block
            np.minimum(block, other, out=block)
        if others is None:
            rows = np.arange(len(block))
            block[rows, start + rows] = np.inf
        if groups_of_many is not None:
            groups_of_many.keep_nearest(block)
        found = _least(block, count)
        near = np.take_along_axis(block, found, axis=1)
        if not exact:
            found, near = _from_differences(points[part], known, found)
        indices[part], squares[part] = found, near
        if turned is not None:
            mirrored[part] = np.take_along_axis(turned, found, axis=1)
        if advance is not None:
            advance(len(block))
    return Neighbours(np.sqrt(squares / points[0].size), indices, mirrored)


def _from_differences(
    points: Float[np.ndarray, "n ..."], known: Float[np.ndarray, "m ..."], found: Int[np.ndarray, "n k"]
) -> tuple[Int[np.ndarray, "n k"], Float64[np.ndarray, "n k"]]:
    """Neighbours in the order of their squared distances, which are computed from differences: products lose digits."""
    squares = np.empty(found.shape)
    for row, (point, nearest) in enumerate(zip(points, found, strict=True)):
        apart = known[nearest].astype(np.float64) - point
        squares[row] = np.square(apart).reshape(len(nearest), -1).sum(axis=1)
    order = squares.argsort(axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(squares, order, axis=1)


def _squares(points: Shaped[np.ndarray, "n ..."], others: Shaped[np.ndarray, "m ..."]) -> Float64[np.ndarray, "n m"]:
    """Squared Euclidean distances: of images in grey levels, integers, exact below 2^53; of windows up to rounding."""
    if points.dtype != np.uint8:
        x, y = (each.reshape(len(each), -1).astype(np.float64) for each in (points, others))
        centre = y.mean(axis=0)
        x, y = x - centre, y - centre
        return np.maximum(np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T, 0)
    x, lengths = _centred(points)
    block = np.empty((len(points), len(others)))
    for start in range(0, len(others), COLUMNS):
        part = slice(start, start + COLUMNS)
        y, own = _centred(others[part])
        np.add(lengths[:, None], own, out=block[:, part])
        for first in range(0, x.shape[1], EXACT):
            dimensions = slice(first, first + EXACT)
            block[:, part] -= 2 * (x[:, dimensions] @ y[:, dimensions].T)
    return block


def _centred(images: UInt8[np.ndarray, "n h w c"]) -> tuple[Float32[np.ndarray, "n d"], Float64[np.ndarray, " n"]]:
    """Grey levels in [-128, 127], and their squared lengths."""
    levels = images.reshape(len(images), -1).astype(np.float32) - 128
    return levels, np.square(levels).sum(axis=1, dtype=np.float64)


def _least(block: Float64[np.ndarray, "n m"], count: int) -> Int[np.ndarray, "n k"]:
    """The columns of the `count` smallest entries of each row, ascending; the first of equal smallest ones comes first."""
    if count == 1:
        return block.argmin(axis=1)[:, None]
    found = np.argpartition(block, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(found, np.take_along_axis(block, found, axis=1).argsort(axis=1, kind="stable"), axis=1)
    first, rows = block.argmin(axis=1), np.arange(len(block))
    place = (found == first[:, None]).argmax(axis=1)  # 0 where it is not among them: then all are equally near
    found[rows, place] = found[:, 0]
    found[:, 0] = first
    return found


@dataclass(frozen=True)
class _Groups:
    """The groups of more than one image: the columns of their members, by group, and each group's start and size."""

    columns: Int[np.ndarray, " l"]
    starts: Int[np.ndarray, " g"]
    sizes: Int[np.ndarray, " g"]

    @staticmethod
    def from_labels(groups: Int[np.ndarray, " m"]) -> "_Groups":
        _, ranks, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        order = np.argsort(ranks, kind="stable")
        own = sizes[sizes > 1]
        return _Groups(order[sizes[ranks[order]] > 1], np.cumsum(own) - own, own)

    def keep_nearest(self, block: Float64[np.ndarray, "n m"]) -> None:
        """Sets the distances to all but the nearest member of each group to infinity; the first of equally near ones is
        kept."""
        if not len(self.columns):
            return
        own = block[:, self.columns]
        nearest = own == self._of_all(np.minimum.reduceat(own, self.starts, axis=1))
        # the position in the group breaks ties
        places = np.where(nearest, np.arange(len(self.columns)), len(self.columns))
        first = places == self._of_all(np.minimum.reduceat(places, self.starts, axis=1))
        block[:, self.columns] = np.where(nearest & first, own, np.inf)

    def _of_all(self, of_groups: Shaped[np.ndarray, "n g"]) -> Shaped[np.ndarray, "n l"]:
        return np.repeat(of_groups, self.sizes, axis=1)
