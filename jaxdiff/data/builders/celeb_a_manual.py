"""CelebA from files downloaded by hand (Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015)."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from jaxdiff.errors import InputError

_IMAGES, _ATTRIBUTES, _PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
_COUNT = 40
_VALUES = {"-1": "no", "1": "yes"}
_SPLITS = {"0": "train", "1": "validation", "2": "test"}
# In the order of the file, which `_labels` checks.
# fmt: off
_NAMES = [
    "5_o_clock_shadow", "arched_eyebrows", "attractive", "bags_under_eyes", "bald", "bangs", "big_lips", "big_nose",
    "black_hair", "blond_hair", "blurry", "brown_hair", "bushy_eyebrows", "chubby", "double_chin", "eyeglasses", "goatee",
    "gray_hair", "heavy_makeup", "high_cheekbones", "male", "mouth_slightly_open", "mustache", "narrow_eyes", "no_beard",
    "oval_face", "pale_skin", "pointy_nose", "receding_hairline", "rosy_cheeks", "sideburns", "smiling", "straight_hair",
    "wavy_hair", "wearing_earrings", "wearing_hat", "wearing_lipstick", "wearing_necklace", "wearing_necktie", "young",
]
# fmt: on


class CelebAManual(tfds.core.GeneratorBasedBuilder):
    """202,599 aligned faces of 178 x 218 pixels; 40 attributes with values no and yes; the official partition."""

    VERSION = tfds.core.Version("1.0.0")
    SOURCES: ClassVar[tuple[str, ...]] = (_ATTRIBUTES, _PARTITION, f"{_IMAGES}.zip", _IMAGES)
    """The files and folders of `manual_dir` that it reads."""
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    From https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, download into one folder:
    {_IMAGES}.zip (or the unpacked folder {_IMAGES}), {_ATTRIBUTES} and {_PARTITION}.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, tfds.features.FeatureConnector] = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "file": tfds.features.Text(),
        }
        features |= {name: tfds.features.ClassLabel(names=list(_VALUES.values())) for name in _NAMES}
        return tfds.core.DatasetInfo(
            builder=self,
            description="CelebA: aligned faces of celebrities with 40 binary attributes of appearance.",
            features=tfds.features.FeaturesDict(features),
            homepage="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder = Path(dl_manager.manual_dir)
        labels, splits = _labels(folder / _ATTRIBUTES), _partition(folder / _PARTITION)
        if labels.keys() != splits.keys():
            file = min(labels.keys() ^ splits.keys())
            raise InputError(
                f"{_ATTRIBUTES} and {_PARTITION} in {folder} must list the same files; only one of them lists {file}"
            )
        return {
            split: self._generate_examples(folder, {file: labels[file] for file in labels if splits[file] == split})
            for split in _SPLITS.values()
            if split in splits.values()
        }

    def _generate_examples(self, folder: Path, labels: dict[str, dict[str, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
        archive = folder / f"{_IMAGES}.zip"
        if archive.is_file():
            with zipfile.ZipFile(archive) as images:
                for file, values in labels.items():
                    with images.open(f"{_IMAGES}/{file}") as image:
                        yield file, {"image": image, "file": file, **values}
        else:
            for file, values in labels.items():
                yield file, {"image": str(folder / _IMAGES / file), "file": file, **values}


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The non-blank lines of a text file with their numbers, split into fields."""
    if not path.is_file():
        raise InputError(f"{path.parent} has no file {path.name}")
    return [(number, line.split()) for number, line in enumerate(path.read_text().splitlines(), start=1) if line.strip()]


def _labels(path: Path) -> dict[str, dict[str, str]]:
    """The attribute values of each file. Format: a count, a line of names, then one line per file with 40 values, -1 or 1."""
    rows = _rows(path)
    if len(rows) < 2 or [name.lower() for name in rows[1][1]] != _NAMES:
        raise InputError(f"{path} must list the {_COUNT} attribute names in row 2")
    labels = {}
    for number, (file, *values) in rows[2:]:
        if len(values) != _COUNT or not set(values) <= _VALUES.keys():
            raise InputError(f"row {number} of {path} must be a file name and {_COUNT} values, each -1 or 1")
        labels[file] = {name: _VALUES[value] for name, value in zip(_NAMES, values, strict=True)}
    return labels


def _partition(path: Path) -> dict[str, str]:
    """The split of each file. Format: one line per file with 0, 1 or 2."""
    splits = {}
    for number, row in _rows(path):
        if len(row) != 2 or row[1] not in _SPLITS:
            raise InputError(f"row {number} of {path} must be a file name and 0 (train), 1 (validation) or 2 (test)")
        splits[row[0]] = _SPLITS[row[1]]
    return splits
