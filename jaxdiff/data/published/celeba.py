"""The tables of CelebA (Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015): the publisher's text files, and the
same as CSV files, as Kaggle has them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from jaxdiff.boundary import MOST_TEXT, reading, require_size
from jaxdiff.data.csv_table import CsvTable
from jaxdiff.data.files import Files
from jaxdiff.errors import InputError

LABELS = ("list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
VALUES = {"-1": "no", "1": "yes"}
SPLITS = {"0": "train", "1": "validation", "2": "test"}
# In the order of the tables, which `_attributes` checks.
# fmt: off
NAMES = (
    "5_o_clock_shadow", "arched_eyebrows", "attractive", "bags_under_eyes", "bald", "bangs", "big_lips", "big_nose",
    "black_hair", "blond_hair", "blurry", "brown_hair", "bushy_eyebrows", "chubby", "double_chin", "eyeglasses", "goatee",
    "gray_hair", "heavy_makeup", "high_cheekbones", "male", "mouth_slightly_open", "mustache", "narrow_eyes", "no_beard",
    "oval_face", "pale_skin", "pointy_nose", "receding_hairline", "rosy_cheeks", "sideburns", "smiling", "straight_hair",
    "wavy_hair", "wearing_earrings", "wearing_hat", "wearing_lipstick", "wearing_necklace", "wearing_necktie", "young",
)
# fmt: on


@dataclass(frozen=True)
class CelebA:
    """What the tables say.

    Attributes:
        table: the name of the table of attributes.
        labels: the 40 values, no or yes, by the image's file in the tables.
        splits: the split by file; None if there is no table of the partition.
    """

    table: str
    labels: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, str] | None


def parse(files: Files, *, partition: bool) -> CelebA:
    """The tables among the files of a data set.

    Arguments:
        files: the files of the data set.
        partition: whether the table of the partition must be there.

    Raises:
        InputError: a table is missing or malformed (the row is named), or the two do not list the same files.
    """
    table = _only(files, LABELS)
    labels = _attributes(files.read(table), f"{files.where}/{table}")
    if not partition and not files.named(*PARTITIONS):
        return CelebA(table, labels, None)
    other = _only(files, PARTITIONS)
    splits = _partition(files.read(other), f"{files.where}/{other}")
    if labels.keys() != splits.keys():
        file = min(labels.keys() ^ splits.keys())
        raise InputError(f"{table} and {other} in {files.where} must list the same files; only one of them lists {file}")
    return CelebA(table, labels, splits)


def images(files: Files, listed: Iterable[str]) -> tuple[dict[str, str], int]:
    """The aligned image of each listed file that has one, and the number of images of files that are not listed.

    Suffixes do not matter: the images exist as JPEG and PNG. Where folders `img_align_celeba` are present, images elsewhere,
    such as those in the wild with the same names, do not count. Raises `InputError` if two images have the same name.
    """
    aligned = [name for name in files.images if any(part.startswith("img_align_celeba") for part in name.split("/")[:-1])]
    by_stem: dict[str, str] = {}
    for name in aligned or files.images:
        stem = PurePosixPath(name).stem
        if stem in by_stem:
            raise InputError(f"{files.where} contains two images {stem}: {by_stem[stem]} and {name}; expected one of each")
        by_stem[stem] = name
    stems = {file: file.rpartition(".")[0] for file in listed}
    found = {file: by_stem[stem] for file, stem in stems.items() if stem in by_stem}
    return found, len(by_stem) - len(found)


def _only(files: Files, bases: tuple[str, ...]) -> str:
    """The one table with one of the base names."""
    found = files.named(*bases)
    if len(found) > 1:
        raise InputError(f"{files.where} contains {' and '.join(found)}; expected one of them")
    if not found:
        raise InputError(f"{files.where} has no file {bases[0]}, nor {bases[1]}")
    return found[0]


def _fields(data: bytes, what: str) -> list[tuple[int, list[str]]]:
    """The non-blank lines of a text file with their numbers, split into fields."""
    with reading(what):
        require_size(len(data), what, most=MOST_TEXT)
        lines = data.decode("utf-8-sig").splitlines()
    return [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]


def _rows(data: bytes, what: str) -> list[tuple[int, list[str]]]:
    """The rows of a CSV table, with the header as the first, and their numbers."""
    table = CsvTable.parse(data, what)
    return [(1, list(table.header)), *((n, list(row)) for n, row in zip(table.numbers, table.rows, strict=True))]


def _attributes(data: bytes, what: str) -> dict[str, tuple[str, ...]]:
    """The values of each file. Text: a count, a line of names, then a line per file with 40 values, -1 or 1. CSV: a header
    `image_id` and the names, then the same."""
    if what.lower().endswith(".csv"):
        rows = _rows(data, what)
        names, line = rows[0][1][1:], 1
    else:
        rows = _fields(data, what)[1:]
        names, line = rows[0][1] if rows else [], 2
    if tuple(name.lower() for name in names) != NAMES:
        raise InputError(f"{what} must list the {len(NAMES)} attribute names in row {line}")
    labels = {}
    for number, (file, *values) in rows[1:]:
        if len(values) != len(NAMES) or not set(values) <= VALUES.keys():
            raise InputError(f"row {number} of {what} must be a file name and {len(NAMES)} values, each -1 or 1")
        _require_new(file, labels, number, what)
        labels[file] = tuple(VALUES[value] for value in values)
    return labels


def _partition(data: bytes, what: str) -> dict[str, str]:
    """The split of each file. Text: one line per file with 0, 1 or 2. CSV: a header `image_id,partition`, then the same."""
    rows = _rows(data, what)[1:] if what.lower().endswith(".csv") else _fields(data, what)
    splits = {}
    for number, row in rows:
        if len(row) != 2 or row[1] not in SPLITS:
            raise InputError(f"row {number} of {what} must be a file name and 0 (train), 1 (validation) or 2 (test)")
        _require_new(row[0], splits, number, what)
        splits[row[0]] = SPLITS[row[1]]
    return splits


def _require_new(file: str, known: Mapping[str, object], number: int, what: str) -> None:
    if file in known:
        raise InputError(f"row {number} of {what} repeats {file}; expected one row for each file")
