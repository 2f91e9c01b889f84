"""CelebA from files downloaded by hand (Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015)."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from jaxdiff.data.files import Files, open_files
from jaxdiff.data.published import celeba
from jaxdiff.errors import InputError


class CelebAManual(tfds.core.GeneratorBasedBuilder):
    """202,599 aligned faces of 178 x 218 pixels; 40 attributes with values no and yes; the official partition."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    From https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, download into one folder:
    img_align_celeba.zip (or the unpacked folder img_align_celeba), {celeba.LABELS[0]} and {celeba.PARTITIONS[0]}.
    Kaggle's copy, with {celeba.LABELS[1]} and {celeba.PARTITIONS[1]}, is read too.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, tfds.features.FeatureConnector] = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "file": tfds.features.Text(),
        }
        features |= {name: tfds.features.ClassLabel(names=list(celeba.VALUES.values())) for name in celeba.NAMES}
        return tfds.core.DatasetInfo(
            builder=self,
            description="CelebA: aligned faces of celebrities with 40 binary attributes of appearance.",
            features=tfds.features.FeaturesDict(features),
            homepage="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        # where links lead out of it, `open_data` has been told to follow them
        files = open_files(Path(dl_manager.manual_dir), links=True)
        if files is None:
            raise InputError(f"no folder {dl_manager.manual_dir}; it must contain the files of CelebA")
        tables = celeba.parse(files, partition=True)
        images, _ = celeba.images(files, tables.labels)
        splits = tables.splits or {}
        missing = [file for file in tables.labels if file not in images]
        if missing:
            raise InputError(f"{len(missing)} of {len(splits)} images are missing in {files.where}, the first is {missing[0]}")
        return {
            split: self._generate_examples(
                files, {file: name for file, name in images.items() if splits[file] == split}, tables
            )
            for split in celeba.SPLITS.values()
            if split in splits.values()
        }

    def _generate_examples(
        self, files: Files, images: dict[str, str], tables: celeba.CelebA
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for file, name in images.items():
            values = dict(zip(celeba.NAMES, tables.labels[file], strict=True))
            yield file, {"image": io.BytesIO(files.read(name)), "file": file, **values}
