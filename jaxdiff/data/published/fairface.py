"""The tables of FairFace (Karkkainen and Joo, FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age, WACV
2021)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jaxdiff.data.csv_table import CsvTable
from jaxdiff.data.files import Files
from jaxdiff.data.splits import uniform
from jaxdiff.errors import InputError

TABLES = {"train": "fairface_label_train.csv", "val": "fairface_label_val.csv"}
VALUES = {
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
    "gender": ("Male", "Female"),
    "race": ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"),
}


@dataclass(frozen=True)
class Row:
    """An image of a table: its file, such as `train/1.jpg`, its split, and its values by attribute.

    The publisher has no test split: the images of the validation table are halved into validation and test by a fixed hash.
    """

    file: str
    split: str
    values: Mapping[str, str]


def parse(files: Files, parts: Iterable[str] = TABLES) -> list[Row]:
    """The rows of the tables of these parts. Raises `InputError` if a table is missing or malformed; the row is named."""
    found = []
    for part in parts:
        names = files.named(TABLES[part])
        if len(names) != 1:
            raise InputError(f"{files.where} has {'several files' if names else 'no file'} {TABLES[part]}")
        table = CsvTable.parse(files.read(names[0]), f"{files.where}/{names[0]}")
        columns = {name: table.column(name) for name in ("file", *VALUES)}
        known: set[str] = set()
        for i, file in enumerate(columns["file"]):
            if not file or file in known:
                raise InputError(f"row {table.numbers[i]} of {table.what} {f'repeats {file!r}' if file else 'has no value'} "
                                 "in column 'file'")  # fmt: skip
            known.add(file)
            values = {name: columns[name][i] for name in VALUES}
            for name, value in values.items():
                if value not in VALUES[name]:
                    allowed = ", ".join(VALUES[name])
                    raise InputError(f"row {table.numbers[i]} of {table.what} has {name} {value!r}; it takes {allowed}")
            split = "train" if part == "train" else "validation" if uniform(file) < 0.5 else "test"
            found.append(Row(file, split, values))
    return found


def images(files: Files) -> dict[str, str]:
    """The image of each file of the tables, such as `train/1.jpg`, in whatever folder or archive `train` and `val` lie.

    Raises `InputError` if there are two, as where both of the publisher's croppings are in one folder.
    """
    found: dict[str, str] = {}
    for name in files.images:
        file = "/".join(name.split("/")[-2:])
        if file in found:
            raise InputError(f"{files.where} contains two images {file}: {found[file]} and {name}; expected one of each")
        found[file] = name
    return found
