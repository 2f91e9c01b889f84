"""Rendered faces with a known bias: a data set that needs no files and whose distribution is known exactly.

Every face belongs to one of two groups, which differ in one defining feature, the shape of the jaw. Other features (hair,
beard, ...) follow the group with probabilities that the caller sets: the bias. The rest is independent of the group.

Image i is a function of (seed, i, associations) alone. Every attribute and every continuous variation has its own uniform
number, a hash of (seed, i, stream); an attribute with P(1) = p is 1 where its number is below p. Changing a probability
therefore changes the labels of that attribute alone, on as few images as possible.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import MappingProxyType

import numpy as np
import scipy
from jaxtyping import Bool, Float32, Float64, Int, Int32, UInt8, UInt64

from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError

ATTRIBUTES = (
    Attribute("group", ("square", "round")),
    Attribute("hair", ("short", "long")),
    Attribute("beard", ("no", "yes")),
    Attribute("glasses", ("no", "yes")),
    Attribute("hair_color", ("dark", "light")),
    Attribute("lipstick", ("no", "yes")),
    Attribute("smile", ("no", "yes")),
    Attribute("background", ("cool", "warm")),
    Attribute("skin", ("light", "medium", "dark")),
)
"""The attributes of every face. `group` is the shape of the jaw; the values of `group`, and of attributes that do not depend
on it, are equally likely."""

DEFAULT_ASSOCIATIONS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "hair": (0.15, 0.85),
        "beard": (0.6, 0.05),
        "glasses": (0.55, 0.2),
        "hair_color": (0.3, 0.6),
        "lipstick": (0.05, 0.65),
    }
)
"""P(the attribute's second value | group square), P(the same | group round), by attribute."""

SIZES = (16, 128)
"""The minimum and maximum height and width of an image in pixels."""

# Continuous variations and their ranges, each uniform: lengths in units of half the image size, the rest relative.
_VARIATIONS = {
    "shift_x": (-0.06, 0.06),
    "shift_y": (-0.05, 0.05),
    "scale": (1.04, 1.16),
    "width": (0.96, 1.04),
    "turn": (-0.035, 0.035),
    "light_x": (-1.0, 1.0),
    "light_y": (-1.0, 0.2),
    "skin_tone": (0.95, 1.05),
    "hair_tone": (0.88, 1.12),
    "background_tone": (0.0, 1.0),
    "background_light": (0.9, 1.08),
    "clothes_tone": (0.0, 1.0),
    "iris_tone": (0.0, 1.0),
    "brow_height": (-0.015, 0.015),
}
_VARIATION_STREAM = 1_000  # above all attribute streams, so that a new attribute does not change the variations
_NOISE_STREAM = 2_000
_NOISE = 2.0  # grey levels
_CHUNK_PIXELS = 128 * 32 * 32  # per chunk of images, so that its arrays fit in the cache
_GOLDEN = 0x9E3779B97F4A7C15

_SKIN = ((242, 204, 176), (192, 138, 98), (142, 94, 66))
_HAIR = ((42, 32, 32), (226, 188, 116))
_BEARD = ((60, 46, 40), (106, 60, 24))  # unlike the hair, so that the jaw is visible against long hair
_BROWS = ((38, 28, 26), (150, 110, 58))
_BACKGROUND = (((112, 152, 204), (124, 186, 194)), ((236, 140, 126), (228, 130, 156)))
_CLOTHES = ((62, 76, 118), (92, 110, 96))
_IRIS = ((70, 46, 34), (56, 92, 128))
_LIPS = (0.74, 0.48, 0.46)  # of the skin's colour
_LIPSTICK = (222, 16, 58)


def labels(
    indices: Int[np.ndarray, " n"],
    *,
    seed: int = 0,
    associations: Mapping[str, Sequence[float | int]] | None = None,
) -> Int32[np.ndarray, "n a"]:
    """The labels of images, in the order of `ATTRIBUTES`, without rendering them.

    Arguments:
        indices: which images; each at least 0.
        seed: of the data set, 0 to 2**64 - 1.
        associations: P(second value | group square) and P(second value | group round) by attribute name; others keep
            their probabilities in `DEFAULT_ASSOCIATIONS`.

    Raises:
        InputError: an index is negative, the seed is out of range, or `associations` has an attribute that does not depend on
            the group or a value that is not two probabilities.
    """
    probabilities = _probabilities(associations)
    columns = {}
    for stream, attribute in enumerate(ATTRIBUTES):
        number = uniform(indices, stream, seed)
        if attribute.name in probabilities:
            columns[attribute.name] = number < np.take(probabilities[attribute.name], columns["group"])
        else:
            columns[attribute.name] = np.floor(number * len(attribute.values)).astype(np.int32)
    return np.stack(list(columns.values()), axis=1).astype(np.int32)


def generate(
    indices: Int[np.ndarray, " n"],
    *,
    seed: int = 0,
    associations: Mapping[str, Sequence[float | int]] | None = None,
    size: int = 32,
) -> tuple[UInt8[np.ndarray, "n size size 3"], Int32[np.ndarray, "n a"]]:
    """Images and their labels. Image i is a function of (seed, i, associations, size) alone.

    Arguments:
        indices: which images; each at least 0.
        seed: of the data set, 0 to 2**64 - 1.
        associations: see `labels`.
        size: height and width in pixels, 16 to 128.

    Raises:
        InputError: see `labels` and `render`.
    """
    drawn = labels(indices, seed=seed, associations=associations)
    return render(drawn, indices, seed=seed, size=size), drawn


def render(
    labels: Int[np.ndarray, "m a"],
    indices: Int[np.ndarray, " n"],
    *,
    seed: int = 0,
    size: int = 32,
) -> UInt8[np.ndarray, "n size size 3"]:
    """Renders faces with any labels; pose, light, tones and noise are those of image `indices[k]`.

    Arguments:
        labels: one row for each index, in the order of `ATTRIBUTES`.
        indices: the images whose variations to use; each at least 0.
        seed: of the data set, 0 to 2**64 - 1.
        size: height and width in pixels, 16 to 128; the shapes do not depend on it.

    Raises:
        InputError: a label, the size, an index or the seed is out of range.
    """
    _check(indices, seed)
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"`size` must be {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    counts = [len(attribute.values) for attribute in ATTRIBUTES]
    if labels.shape != (len(indices), len(counts)) or (labels < 0).any() or (labels >= counts).any():
        raise InputError(
            f"`labels` must have a row for each of {len(indices)} indices and a column for each of {len(counts)} attributes, "
            f"with entries from 0 to below {counts}; got shape {labels.shape}"
        )
    images = np.empty((len(indices), size, size, 3), np.uint8)
    chunk = max(1, _CHUNK_PIXELS // size**2)
    for start in range(0, len(indices), chunk):
        part = slice(start, start + chunk)
        pixels = _draw(labels[part], _variations(indices[part], seed), size)
        pixels += _noise(indices[part], seed, size)
        images[part] = np.clip(pixels + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 3, 0)
    return images


@cache
def group_region(size: int) -> Bool[np.ndarray, "size size"]:
    """The pixels that can show `group`: those that the edge of either jaw reaches in some image, the same for all images.

    Outside it an image does not change with its group alone. It also covers what lies in it of other attributes: most of a
    beard and half of long hair, but little of eyes and mouth.

    Arguments:
        size: height and width in pixels, 16 to 128.

    Raises:
        InputError: the size is out of range.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"`size` must be {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    # the jaws on a fine grid for several scales and widths, moved by all shifts and by a margin, which covers what lies between
    fine = 2 * max(1, 128 // size)
    axis = ((np.arange(fine * size) + 0.5) / (fine * size) * 2 - 1).astype(np.float32)
    reached = np.zeros((fine * size, fine * size), bool)
    for scale, width in product(
        *(np.linspace(*_VARIATIONS[name], steps, dtype=np.float32) for name, steps in (("scale", 9), ("width", 5)))
    ):
        soft = np.full((1, 1, 1), 1.4 * 2 / size / scale, np.float32)
        pixels = np.empty((3, 1, len(axis), len(axis)), np.float32)
        canvas = _Canvas(pixels, axis[None, None, :] / scale, (axis[None, :, None] + 0.04) / scale, soft)
        jaws = [_jaw(canvas, 0.465 * width, is_round) for is_round in (0.0, 1.0)]
        reached |= ((jaws[0] != jaws[1]) & (canvas.v > 0))[0]
    # lengths are of half the image size
    moves = [2 * int(np.ceil((_VARIATIONS[name][1] + 0.01) * fine * size / 2)) + 3 for name in ("shift_y", "shift_x")]
    reached = scipy.ndimage.maximum_filter(reached, moves)
    region = reached[fine // 2 :: fine, fine // 2 :: fine]
    region.setflags(write=False)  # all callers share it
    return region


def _check(indices: Int[np.ndarray, " n"], seed: int) -> None:
    if (indices < 0).any():
        raise InputError(f"`indices` must be at least 0, got {indices.min()}")
    if not 0 <= seed < 2**64:
        raise InputError(f"`seed` must be 0 to 2**64 - 1, got {seed}")


def _probabilities(associations: Mapping[str, Sequence[float | int]] | None) -> dict[str, Sequence[float | int]]:
    for name, pair in (associations or {}).items():
        if name not in DEFAULT_ASSOCIATIONS:
            raise InputError(f"`associations` takes {', '.join(DEFAULT_ASSOCIATIONS)}, got {name!r}")
        if len(pair) != 2 or not all(0 <= probability <= 1 for probability in pair):
            raise InputError(f"`associations[{name!r}]` must be two probabilities in [0, 1], one per group, got {pair}")
    return {**DEFAULT_ASSOCIATIONS, **(associations or {})}


def _mix(state: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014, with Stafford's constants): scrambles 64 bits, one to one."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _hash(indices: Int[np.ndarray, " n"], stream: int, seed: int) -> UInt64[np.ndarray, " n"]:
    """64 random bits that are a function of (seed, stream, index). Nested, so that no two streams are shifts of each other."""
    golden = np.array([_GOLDEN], np.uint64)  # an array, which wraps around without a warning where a scalar would give one
    state = _mix(np.array([seed], np.uint64) + golden)
    state = _mix(state + np.uint64(stream) * golden)
    return _mix(state + indices.astype(np.uint64) * golden)


def uniform(indices: Int[np.ndarray, " n"], stream: int, seed: int) -> Float64[np.ndarray, " n"]:
    """Independent uniform numbers in [0, 1), each a function of (seed, stream, index): the upper 53 bits of their hash.

    Arguments:
        indices: which images; each at least 0.
        stream: what the numbers are for. The faces use those below 3,000.
        seed: of the data set, 0 to 2**64 - 1.

    Raises:
        InputError: an index is negative or the seed is out of range.
    """
    _check(indices, seed)
    return (_hash(indices, stream, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _variations(indices: Int[np.ndarray, " n"], seed: int) -> dict[str, Float32[np.ndarray, "n 1 1"]]:
    return {
        name: (low + (high - low) * uniform(indices, _VARIATION_STREAM + i, seed)).astype(np.float32)[:, None, None]
        for i, (name, (low, high)) in enumerate(_VARIATIONS.items())
    }


def _noise(indices: Int[np.ndarray, " n"], seed: int, size: int) -> Float32[np.ndarray, "n size size"]:
    """Grey noise, uniform within 2 levels: a hash of each image's bits and each pixel's, in 32 bits, where it is fast."""
    image = _hash(indices, _NOISE_STREAM, seed).astype(np.uint32)[:, None]
    pixel = _hash(np.arange(size**2), _NOISE_STREAM + 1, seed).astype(np.uint32)
    bits = (image ^ pixel) * np.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> np.uint32(15))) * np.uint32(0x846CA68B)
    noise = (bits >> np.uint32(8)).astype(np.float32) * (_NOISE * 2.0**-23) - _NOISE
    return noise.reshape(-1, size, size)


@dataclass(frozen=True)
class _Canvas:
    """Pixels (colour, image, row, column) with coordinates of the face: u to the right, v down, 0 between eyes and nose."""

    pixels: Float32[np.ndarray, "3 n h w"]
    u: Float32[np.ndarray, "n 1 w"]
    v: Float32[np.ndarray, "n h 1"]
    soft: Float32[np.ndarray, "n 1 1"]  # the width of an edge

    def crop(self, top: float, bottom: float, half_width: float) -> "_Canvas":
        """The part that holds this box of every face, with what its soft edges reach; painting on it paints on the whole."""
        # an ellipse's distance is exact at its edge alone, and short by half far from it
        reach = self.soft
        rows = np.flatnonzero(((self.v > top - reach) & (self.v < bottom + reach)).any(axis=(0, 2)))
        columns = np.flatnonzero((np.abs(self.u) < half_width + reach).any(axis=(0, 1)))
        rows, columns = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return _Canvas(self.pixels[:, :, rows, columns], self.u[:, :, columns], self.v[:, rows], self.soft)

    def coverage(self, distance):
        """Coverage of pixels, 0 to 1, by a shape from its signed distance, negative inside."""
        return np.clip(0.5 - distance / self.soft, 0, 1)

    def ellipse(self, u, v, width, height, power=2.0):
        """Coverage by a superellipse |u / width|^power + |v / height|^power = 1 around the origin of `u` and `v`.

        Its distance is (f - 1) / |grad f|: exact to first order at the edge. Both are sums of a function of u and one of v.
        """
        across, down = np.abs(u) / width, np.abs(v) / height
        f = across**power + down**power
        slope = (power * across ** (power - 1) / width) ** 2 + (power * down ** (power - 1) / height) ** 2
        return self.coverage((f - 1) / np.sqrt(slope + 1e-6))

    def paint(self, coverage, colour, shade=1.0):
        """Lays a colour (3, n, 1, 1), brightened by `shade`, over the pixels that `coverage` covers."""
        for channel, value in zip(self.pixels, colour, strict=True):
            channel += coverage * (value * shade - channel)


def _draw(
    labels: Int[np.ndarray, "n a"], vary: Mapping[str, Float32[np.ndarray, "n 1 1"]], size: int
) -> Float32[np.ndarray, "3 n size size"]:
    """Faces without noise, back to front; values 0 to 255."""
    # Labels as numbers (n, 1, 1): of two values they blend shapes and colours, 0 the first and 1 the second.
    is_ = {a.name: labels[:, i, None, None].astype(np.float32) for i, a in enumerate(ATTRIBUTES)}
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    canvas = _Canvas(
        pixels=np.empty((3, len(labels), size, size), np.float32),
        u=(axis[None, None, :] - vary["shift_x"]) / vary["scale"],
        v=(axis[None, :, None] - vary["shift_y"] + 0.04) / vary["scale"],
        soft=1.4 * 2 / size / vary["scale"],
    )
    _backdrop(canvas, is_, vary, axis)
    light = 0.16 * (vary["light_x"] * canvas.u + vary["light_y"] * canvas.v)
    skin = _pick(_SKIN, is_["skin"]) * vary["skin_tone"]
    hair = _pick(_HAIR, is_["hair_color"]) * vary["hair_tone"]
    _bust(canvas, is_, vary, skin, hair, light)
    _head(canvas, is_, vary, skin, hair, light)
    # Features turn with the head, all as seen from the front.
    front = _Canvas(canvas.pixels, canvas.u - vary["turn"], canvas.v, canvas.soft)
    _mouth(front.crop(0.0, 0.5, 0.34), is_, skin)
    _eyes(front.crop(-0.4, 0.2, 0.52), is_, vary)
    return canvas.pixels


def _pick(table, label):
    """Colours (3, n, 1, 1) of a table of colours by label."""
    return np.array(table, np.float32).T[:, label.astype(np.int64)]


def _between(colours, position):
    """The colour (3, n, 1, 1) at a position in [0, 1] between two."""
    first, last = np.array(colours, np.float32)[:, :, None, None, None]
    return first + (last - first) * position


def _backdrop(canvas, is_, vary, axis):
    cool, warm = (_between(colours, vary["background_tone"]) for colours in _BACKGROUND)
    colour = (cool + (warm - cool) * is_["background"]) * vary["background_light"]
    # Brighter towards the light and the floor darker; it stands still when the face moves.
    gradient = 1 - 0.14 * axis[None, :, None] + 0.08 * vary["light_x"] * axis[None, None, :]
    canvas.pixels[:] = colour * gradient


def _bust(canvas, is_, vary, skin, hair, light):
    """Shoulders, long hair behind the head, and the neck."""
    u, v = canvas.u, canvas.v
    canvas.paint(canvas.ellipse(u, v - 1.12, 0.84, 0.48, 2.6), _between(_CLOTHES, vary["clothes_tone"]), 1 + light)
    canvas.paint(is_["hair"] * canvas.ellipse(u, v - 0.18, 0.62, 0.72, 3.2), hair, 0.86 + 0.22 * is_["hair_color"] + light)
    canvas.paint(canvas.ellipse(u, v - 0.5, 0.2, 0.34, 5.0), skin, 0.78 + light)


def _head(canvas, is_, vary, skin, hair, light):
    """Ears, the head with the jaw of its group, the beard on it and the hair above."""
    u, v = canvas.u, canvas.v
    is_round, is_long = is_["group"], is_["hair"]
    width = 0.465 * vary["width"]
    ears = canvas.ellipse(np.abs(u) - width, v - 0.02, 0.07, 0.11)
    canvas.paint(ears * (1 - is_long), skin, 0.9 + light)

    head = np.where(v > 0, _jaw(canvas, width, is_round), canvas.ellipse(u, v, width, 0.6))
    rounding = 0.14 * ((u / width) ** 2 + (v / 0.6) ** 2)
    canvas.paint(head, skin, 1.06 + light - rounding)

    beard = canvas.coverage(0.19 - 0.9 * u**2 - v)
    canvas.paint(is_["beard"] * 0.92 * beard * head, _pick(_BEARD, is_["hair_color"]) * vary["hair_tone"], 1 + light)

    volume = 0.03 + 0.05 * is_long
    cap = canvas.ellipse(u, v + 0.04, width + volume, 0.62 + volume)
    hairline = v + 0.34 - (1.2 + 1.0 * is_long) * u**2
    canvas.paint(cap * canvas.coverage(hairline), hair, 1 + 2 * light)


def _jaw(canvas, width, is_round):
    """The head below v = 0, where both have one width: high powers make it square, low ones pointed."""
    return canvas.ellipse(canvas.u, canvas.v, width, 0.54 + 0.07 * is_round, 4.0 - 2.4 * is_round)


def _mouth(canvas, is_, skin):
    """Nose and mouth: a smile is a wide mouth with its corners up and its teeth showing."""
    u, v = canvas.u, canvas.v
    canvas.paint(canvas.ellipse(u, v - 0.12, 0.085, 0.035), skin, 0.72)
    smile = is_["smile"]
    width = 0.14 + 0.09 * smile
    taper = np.maximum(1 - (u / width) ** 2, 0)
    middle = v - 0.29 - 0.03 * smile + 2.2 * smile * u**2
    lips = canvas.coverage(np.abs(middle) - (0.06 + 0.025 * smile) * taper)
    colour = skin * np.array(_LIPS, np.float32)[:, None, None, None]
    colour = colour + (_pick((_LIPSTICK,), np.zeros_like(smile)) - colour) * is_["lipstick"]
    canvas.paint(lips * canvas.coverage(np.abs(u) - width), colour)
    teeth = canvas.coverage(np.abs(middle) - 0.045 * taper) * canvas.coverage(np.abs(u) - width * 0.8)
    canvas.paint(smile * teeth, _pick(((246, 242, 236),), np.zeros_like(smile)))


def _eyes(canvas, is_, vary):
    """Brows, eyes and, in front of them, glasses."""
    u, v = np.abs(canvas.u) - 0.2, canvas.v + 0.06
    white, black = ((248, 246, 242),), ((24, 22, 26),)
    none = np.zeros_like(vary["turn"])
    brow = np.abs(v + 0.155 + vary["brow_height"] + 0.6 * u**2) - 0.025
    canvas.paint(canvas.coverage(brow) * canvas.coverage(np.abs(u) - 0.11), _pick(_BROWS, is_["hair_color"]))
    canvas.paint(canvas.ellipse(u, v, 0.1, 0.06), _pick(white, none))
    canvas.paint(canvas.ellipse(u, v, 0.05, 0.055), _between(_IRIS, vary["iris_tone"]))
    canvas.paint(canvas.ellipse(u, v, 0.022, 0.024), _pick(black, none))
    outer = canvas.ellipse(u, v - 0.01, 0.165, 0.135, 3.0)
    rims = outer - canvas.ellipse(u, v - 0.01, 0.12, 0.09, 3.0)
    bridge = canvas.coverage(np.abs(v + 0.02) - 0.022) * canvas.coverage(np.abs(canvas.u) - 0.05)
    canvas.paint(is_["glasses"] * np.maximum(rims, bridge), _pick(black, none))
