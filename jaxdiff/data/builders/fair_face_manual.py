"""FairFace from files downloaded by hand (Karkkainen and Joo, FairFace: Face Attribute Dataset for Balanced Race, Gender,
and Age, WACV 2021)."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from jaxdiff.data.splits import uniform
from jaxdiff.errors import InputError

_TABLES = {"train": "fairface_label_train.csv", "val": "fairface_label_val.csv"}
_VALUES = {
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
    "gender": ("Male", "Female"),
    "race": ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"),
}


class FairFaceManual(tfds.core.GeneratorBasedBuilder):
    """108,501 faces with age, gender and race.

    There is no official test split: `train` is the official training split, and the official validation split is halved into
    `validation` and `test` by a fixed hash of the file name.
    """

    VERSION = tfds.core.Version("1.0.0")
    SOURCES: ClassVar[tuple[str, ...]] = (*_TABLES.values(), "train", "val")
    """The files and folders of `manual_dir` that it reads."""
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    From https://github.com/joojs/fairface, put into one folder: the unpacked folders train and val,
    {_TABLES["train"]} and {_TABLES["val"]}.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, tfds.features.FeatureConnector] = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "file": tfds.features.Text(),
        }
        features |= {name: tfds.features.ClassLabel(names=list(values)) for name, values in _VALUES.items()}
        return tfds.core.DatasetInfo(
            builder=self,
            description="FairFace: faces balanced by race, annotated with age, gender and race.",
            features=tfds.features.FeaturesDict(features),
            homepage="https://github.com/joojs/fairface",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder = Path(dl_manager.manual_dir)
        train, held_out = (_rows(folder / table) for table in _TABLES.values())
        parts = {
            "train": train,
            "validation": [row for row in held_out if uniform(row["file"]) < 0.5],
            "test": [row for row in held_out if uniform(row["file"]) >= 0.5],
        }
        return {split: self._generate_examples(folder, rows) for split, rows in parts.items() if rows}

    def _generate_examples(self, folder: Path, rows: list[dict[str, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in rows:
            yield row["file"], {"image": str(folder / row["file"]), **row}


def _rows(path: Path) -> list[dict[str, str]]:
    """The file, age, gender and race of each image in a table."""
    if not path.is_file():
        raise InputError(f"{path.parent} has no file {path.name}")
    rows = []
    with path.open(newline="", encoding="utf-8-sig") as table:
        for number, row in enumerate(csv.DictReader(table), start=2):
            if not row.get("file"):
                raise InputError(f"row {number} of {path} has no value in column 'file'")
            for name, values in _VALUES.items():
                if row.get(name) not in values:
                    raise InputError(f"row {number} of {path} has {name} {row.get(name)!r}; it takes {', '.join(values)}")
            rows.append({name: row[name] for name in ("file", *_VALUES)})
    return rows
