"""FairFace from files downloaded by hand (Karkkainen and Joo, FairFace: Face Attribute Dataset for Balanced Race, Gender,
and Age, WACV 2021)."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from jaxdiff.data import splits
from jaxdiff.data.files import Files, open_files
from jaxdiff.data.published import fairface
from jaxdiff.errors import InputError


class FairFaceManual(tfds.core.GeneratorBasedBuilder):
    """108,501 faces with age, gender and race.

    There is no official test split: `train` is the official training split, and the official validation split is halved into
    `validation` and `test` by a fixed hash of the file name.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    From https://github.com/joojs/fairface, put into one folder: the unpacked folders train and val,
    {fairface.TABLES["train"]} and {fairface.TABLES["val"]}.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, tfds.features.FeatureConnector] = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "file": tfds.features.Text(),
        }
        features |= {name: tfds.features.ClassLabel(names=list(values)) for name, values in fairface.VALUES.items()}
        return tfds.core.DatasetInfo(
            builder=self,
            description="FairFace: faces balanced by race, annotated with age, gender and race.",
            features=tfds.features.FeaturesDict(features),
            homepage="https://github.com/joojs/fairface",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        # where links lead out of it, `open_data` has been told to follow them
        files = open_files(Path(dl_manager.manual_dir), links=True)
        if files is None:
            raise InputError(f"no folder {dl_manager.manual_dir}; it must contain the files of FairFace")
        rows, images = fairface.parse(files), fairface.images(files)
        missing = [row.file for row in rows if row.file not in images]
        if missing:
            raise InputError(f"{len(missing)} of {len(rows)} images are missing in {files.where}, the first is {missing[0]}")
        parts = {split: [row for row in rows if row.split == split] for split in splits.SPLITS}
        return {split: self._generate_examples(files, part, images) for split, part in parts.items() if part}

    def _generate_examples(
        self, files: Files, rows: Sequence[fairface.Row], images: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in rows:
            yield row.file, {"image": io.BytesIO(files.read(images[row.file])), "file": row.file, **row.values}
