"""Duplicates among images, or windows of series: connected groups of those within a given distance."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Float64, Int, Shaped, UInt8

from jaxdiff.bands import cosine_basis
from jaxdiff.errors import InputError

LOW = 4
"""Number of lowest frequencies along height and width in which pairs are compared first."""
ROWS = 512
"""Images compared with later ones at once."""
PAIRS = 1024
"""Pairs of images compared in full at once."""


@dataclass(frozen=True)
class Duplicates:
    """The result of `find_duplicates`.

    Fields:
        groups: the index of the first image of each image's group (N,); an image without duplicates is a group of its own.
        exact: the number of images that equal an earlier one in every pixel (or its mirror image, with `flips`).
        distance: the threshold, in grey levels, or in the unit of the windows. Groups are connected components: two images that
            are both near to a third are in one group, at any distance from one another.
    """

    groups: Int[np.ndarray, " n"]
    exact: int
    distance: float

    @property
    def distinct(self) -> int:
        """The number of groups, including images without duplicates."""
        return len(np.unique(self.groups))

    @property
    def removed(self) -> int:
        """The number of images that are not the first of their group."""
        return len(self.groups) - self.distinct

    @property
    def largest(self) -> int:
        """The number of images in the largest group."""
        return int(np.bincount(self.groups).max())


def find_duplicates(images: Shaped[np.ndarray, "n ..."], *, distance: float = 0.0, flips: bool = False) -> Duplicates:
    """Groups images whose distance is at most `distance`; exact.

    An orthonormal projection does not increase distances. Pairs are therefore compared by their means first, then in the lowest
    frequencies (the orthonormal DCT-II), and only the remaining pairs in full, in integers. Windows of series are compared by
    products in float64 first, and pairs that may be near by their differences.

    Arguments:
        images: at least one, uint8 (N, H, W, C), or windows of series, floating point and finite (N, L, F).
        distance: root mean square over pixels and channels, in grey levels, at least 0; 0 finds exact duplicates. Of windows
            over rows and columns, in their unit.
        flips: of images, use the smaller of the distances to an image and to its mirror image, left to right.

    Raises:
        InputError: no images, a distance below 0, or mirrored windows.
    """
    if not len(images) or not distance >= 0:
        raise InputError(f"`images` must be at least one and `distance` at least 0, got {len(images)} and {distance}")
    limit = distance**2 * images[0].size * (1 + 1e-12)
    if images.dtype != np.uint8:
        if flips:
            raise InputError("`flips` is for images, and windows of series have no mirror images")
        return _of_windows(images, distance, limit)
    low = _lowest(images)
    mean = low[:, 0, 0].sum(axis=1) / np.sqrt(images.shape[-1])  # the projection on grey, invariant under mirroring
    order = np.argsort(mean, kind="stable")
    low, mean = low[order], mean[order]
    mirrored = low * np.where(np.arange(low.shape[2]) % 2, -1, 1)[:, None]
    reach = np.sqrt(limit + 0.5)  # squared distances are integers: 0.5 is more than the rounding error
    found = []
    for start in range(0, len(images), ROWS):
        stop = min(start + ROWS, len(images))
        last = int(np.searchsorted(mean, mean[stop - 1] + reach, side="right"))
        near = _near(low[start:stop], low[start:last], reach)
        if flips:
            near |= _near(low[start:stop], mirrored[start:last], reach)
        rows, columns = np.nonzero(np.triu(near, 1))
        found.append(np.stack([order[start + rows], order[start + columns]], axis=1))
    pairs = np.concatenate(found)
    squares = _exact_squares(images, pairs, flips)
    groups, equal = (_first_of_group(pairs[chosen], len(images)) for chosen in (squares <= limit, squares == 0))
    return Duplicates(groups, len(images) - len(np.unique(equal)), distance)


def _of_windows(windows: Float[np.ndarray, "n l f"], distance: float, limit: float) -> Duplicates:
    """As `find_duplicates`, of windows, with the limit of squared distances."""
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    lengths = np.square(flat).sum(axis=1)
    slack = 1e-12 * (1 + 4 * lengths.max())  # above the rounding error of the products
    found = []
    for start in range(0, len(flat), ROWS):
        rows = flat[start : start + ROWS]
        squares = lengths[start : start + ROWS, None] + lengths[start:] - 2 * rows @ flat[start:].T
        near = np.stack(np.nonzero(np.triu(squares <= limit + slack, 1)), axis=1)
        found.append(near + start)
    pairs = np.concatenate(found)
    squares = np.empty(len(pairs))
    for start in range(0, len(pairs), PAIRS):
        first, second = (windows[own].astype(np.float64) for own in pairs[start : start + PAIRS].T)
        squares[start : start + PAIRS] = np.square(first - second).sum(axis=(1, 2))
    groups, equal = (_first_of_group(pairs[chosen], len(flat)) for chosen in (squares <= limit, squares == 0))
    return Duplicates(groups, len(flat) - len(np.unique(equal)), distance)


def _lowest(images: UInt8[np.ndarray, "n h w c"]) -> Float64[np.ndarray, "n a b c"]:
    """The coefficients of the lowest frequencies of centred grey levels, in an orthonormal basis."""
    rows, columns = (cosine_basis(size)[:LOW] for size in images.shape[1:3])
    parts = []
    for start in range(0, len(images), ROWS):
        levels = images[start : start + ROWS].astype(np.float64) - 128
        parts.append(np.einsum("nhwc,ah,bw->nabc", levels, rows, columns, optimize=True))
    return np.concatenate(parts)


def _near(x: Float64[np.ndarray, "n a b c"], y: Float64[np.ndarray, "m a b c"], reach: float) -> Bool[np.ndarray, "n m"]:
    """Whether each pair of coefficients is within `reach`."""
    x, y = (each.reshape(len(each), -1) for each in (x, y))
    return np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T <= reach**2


def _exact_squares(images: UInt8[np.ndarray, "n h w c"], pairs: Int[np.ndarray, "p 2"], flips: bool) -> Int[np.ndarray, " p"]:
    """Squared distances of pairs of images."""
    squares = np.empty(len(pairs), np.int64)
    for start in range(0, len(pairs), PAIRS):
        first, second = (images[own].astype(np.int32) for own in pairs[start : start + PAIRS].T)
        each = [np.square(first - other).sum(axis=(1, 2, 3), dtype=np.int64) for other in (second, second[:, :, ::-1])]
        squares[start : start + PAIRS] = np.minimum(*each) if flips else each[0]
    return squares


def _first_of_group(pairs: Int[np.ndarray, "p 2"], count: int) -> Int[np.ndarray, " n"]:
    """The smallest index in the connected component of each of `count` images."""
    graph = scipy.sparse.coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    _, first, ranks = np.unique(labels, return_index=True, return_inverse=True)
    return first[ranks]
