"""Image data sets of TensorFlow Datasets (tfds), without TensorFlow.

`tfds:NAME` opens a data set that is registered in tfds, or one of jaxdiff's builders for files downloaded by hand:
`celeb_a_manual` and `fair_face_manual` (see `jaxdiff.data.builders`). Options after `?`, joined by `&`: `manual_dir`,
the folder of those files, and `data_dir`, the folder of prepared data sets (by default `~/tensorflow_datasets`). A data set
is prepared when it is first opened, in the format array_record, which does not need TensorFlow. What is prepared of a
`manual_dir` lies in a folder of its own in `data_dir`, found again by the path of `manual_dir` and the sizes and times of all
files in it: another copy, or a changed one, is prepared anew. Preparing some of tfds's
own data sets needs TensorFlow all the same, because tfds encodes their pixels with it (MNIST, for example): prepare those
elsewhere with `file_format="array_record"` and pass the `data_dir`.

A data set must have one image feature; its class labels and booleans become attributes. Its splits train, validation and
test are used; a missing one is taken from train by a hash of the index, a tenth of it each.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int32, Shaped, UInt8
from tensorflow_datasets.proto import tf_example_pb2

from jaxdiff.boundary import reading
from jaxdiff.data import splits
from jaxdiff.data.attributes import Attribute
from jaxdiff.data.builders import CelebAManual, FairFaceManual
from jaxdiff.data.files import state
from jaxdiff.data.images import decode
from jaxdiff.data.source import Source
from jaxdiff.errors import InputError

_OWN = {"celeb_a_manual": CelebAManual, "fair_face_manual": FairFaceManual}
_BY_SOURCE = "by_manual_dir"  # the folder in data_dir of what is prepared of files downloaded by hand


class TfdsSource(Source):
    """The examples of some splits of a prepared tfds data set, concatenated.

    Arguments:
        builder: a builder whose data are prepared as array_record.
        names: the splits.

    Raises:
        InputError: the data set does not have exactly one image feature, or examples lack a label.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, names: Sequence[str]):
        self.name = f"tfds:{builder.info.full_name}"
        features = dict(_leaves(builder.info.features))
        images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
        if len(images) != 1:
            raise InputError(f"{self.name} has {len(images)} image features; exactly one is needed")
        self._image_key = images[0]
        found = {key: values for key, feature in features.items() if (values := _values(feature))}
        self.attributes = tuple(Attribute(key.rpartition("/")[-1], values) for key, values in found.items())
        # records are parsed here because parsing by tfds takes ten times as long
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self._parts = [builder.as_data_source(split=split, deserialize_method=raw) for split in names]
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.labels = self._read_labels(list(found))

    def _read_labels(self, keys: Sequence[str]) -> Int32[np.ndarray, "n a"]:
        labels = np.zeros((int(self._ends[-1]), len(keys)), np.int32)
        if keys:
            for row, record in enumerate(itertools.chain.from_iterable(self._parts)):
                feature = _parse(record)
                labels[row] = [feature[key].int64_list.value[0] for key in keys]
        if (labels < 0).any():
            raise InputError(f"{self.name} has examples without a label, such as example {np.argwhere(labels < 0)[0][0]}")
        return labels

    def image(self, i: int) -> UInt8[np.ndarray, "height width c"]:
        part = int(np.searchsorted(self._ends, i, side="right"))
        what = f"example {i} of {self.name}"
        with reading(what):
            record = self._parts[part][i - (int(self._ends[part - 1]) if part else 0)]
            data = _parse(record)[self._image_key].bytes_list.value[0]
        return decode(data, what)


def read(
    spec: str, *, manual_dir: str | PathLike[str] | None = None, links: bool = False
) -> tuple[TfdsSource, Shaped[np.ndarray, " n"]]:
    """The examples of a tfds data set, prepared if necessary, and the split of each.

    Arguments:
        spec, manual_dir, links: as for `jaxdiff.data.open_data`.

    Raises:
        InputError: an unknown data set or option, data that cannot be prepared, or data prepared as tfrecord.
    """
    name, _, query = spec.removeprefix("tfds:").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := options.keys() - {"manual_dir", "data_dir"}:
        raise InputError(f"unknown option {min(unknown)!r} in {spec!r}; expected manual_dir or data_dir")
    if manual_dir is not None:
        options["manual_dir"] = fspath(manual_dir)
    builder = _builder(name, options.get("data_dir"))
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and (name in _OWN or not builder.info.splits):
        builder = _of_manual_dir(builder, name, options.get("data_dir"), options.get("manual_dir"), links)
    elif options.get("manual_dir") is not None:
        raise InputError(
            f"tfds data set {name} needs no `manual_dir`, or is prepared in {builder.data_dir}; leave it out or give another "
            "data_dir"
        )
    if not builder.info.splits:
        _prepare(builder, name, options.get("manual_dir"))
    if "train" not in builder.info.splits:
        raise InputError(f"tfds data set {name} has no split 'train'; it has {', '.join(builder.info.splits)}")
    names = [split for split in splits.SPLITS if split in builder.info.splits]
    if builder.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        raise InputError(
            f"tfds data set {name} is prepared in {builder.data_dir} as {builder.info.file_format.value}, "
            "which needs TensorFlow; prepare it again as array_record in another data_dir"
        )
    return TfdsSource(builder, names), _assigned(builder, names)


def _builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    folder = data_dir and Path(data_dir).expanduser()
    if name in _OWN:
        return _OWN[name](data_dir=folder)
    try:
        return tfds.builder(name, data_dir=folder)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise InputError(f"tfds has no data set {name!r}; jaxdiff adds {', '.join(_OWN)}") from error
    except (ImportError, ValueError) as error:
        raise InputError(f"tfds data set {name!r} cannot be opened: {error}") from error


def _of_manual_dir(
    builder: tfds.core.DatasetBuilder, name: str, data_dir: str | None, manual_dir: str | None, links: bool
) -> tfds.core.DatasetBuilder:
    """The builder of what is prepared, or will be, of one `manual_dir`; without it, of the only one that is prepared."""
    root = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / _BY_SOURCE
    if manual_dir is None:
        prepared = [each for folder in sorted(root.glob(f"{name}-*")) if (each := _builder(name, str(folder))).info.splits]
        if builder.info.splits:  # prepared before each manual_dir had its own folder
            prepared.append(builder)
        if len(prepared) > 1:
            raise InputError(f"tfds data set {name} is prepared of {len(prepared)} folders in {root.parent}; give `manual_dir`")
        return prepared[0] if prepared else builder
    return _builder(name, str(root / f"{name}-{state(Path(manual_dir).expanduser(), apart=root, links=links)}"))


def _prepare(builder: tfds.core.DatasetBuilder, name: str, manual_dir: str | None) -> None:
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        needs = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        if manual_dir is None or not Path(manual_dir).expanduser().is_dir():
            raise InputError(f"tfds data set {name} must be downloaded by hand; `manual_dir` is {manual_dir}. {needs}")
    config = tfds.download.DownloadConfig(manual_dir=manual_dir and Path(manual_dir).expanduser())
    try:
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except InputError:
        raise
    except Exception as error:  # a builder may raise anything: no network, no disk, a missing package, a damaged file
        why = " ".join(str(error).split())
        raise InputError(f"tfds data set {name} cannot be prepared in {builder.data_dir}: {why}") from error


def _assigned(builder: tfds.core.DatasetBuilder, names: Sequence[str]) -> Shaped[np.ndarray, " n"]:
    """The split of each example; a missing split is taken from train."""
    assigned = np.concatenate([np.full(builder.info.splits[name].num_examples, name, "<U10") for name in names])
    return splits.completed(assigned, list(map(str, range(len(assigned)))))


def _parse(record: bytes) -> Mapping[str, Any]:
    """The stored features of an example, by their keys."""
    example = tf_example_pb2.Example  # ty: ignore[missing-attribute]  # protobuf makes its classes on import
    return example.FromString(record).features.feature


def _leaves(features: tfds.features.FeaturesDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every feature in nested dictionaries of features, with its key in the records."""
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _leaves(feature, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", feature


def _values(feature: Any) -> tuple[str, ...] | None:
    """The values of a feature that is an attribute, or None."""
    if isinstance(feature, tfds.features.ClassLabel):
        return tuple(feature.names)
    if isinstance(feature, tfds.features.Tensor) and feature.shape == () and feature.np_dtype == np.bool_:
        return ("no", "yes")
    return None
