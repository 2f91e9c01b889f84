"""Readers of data: images, data sets of every layout, sets of samples and references of other programs."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from jaxdiff.data import Attribute, describe, load_arrays, open_data
from jaxdiff.data.images import decode
from jaxdiff.quality.reference_file import load_reference
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from tests.data.layouts import celeb_a_tables, encoded, fair_face_table, pixels, write, write_tar, write_zip
from tests.data.miniatures import parquet
from tests.fuzzing.property import Target

COUNT = 4
_FILES = {f"images/{i}.png": encoded(i) for i in range(COUNT)}
_TABLE = "file,kind,split\n" + "".join(f"images/{i}.png,{i % 2},{('train', 'test')[i % 2]}\n" for i in range(COUNT))
_LABELLED = _FILES | {"labels.csv": _TABLE, "attributes.json": json.dumps({"kind": {"0": "a", "1": "b"}})}


def _read_image(path: Path) -> None:
    _check_image(decode(path.read_bytes(), str(path)))


def _check_image(image: np.ndarray) -> None:
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (1, 3, 4) and image.size


def _read_set(path: Path) -> None:
    source = open_data(path, split="all")
    assert describe(source)
    assert source.labels.dtype == np.int32 and source.labels.shape == (len(source), len(source.attributes))
    for attribute, column in zip(source.attributes, source.labels.T, strict=True):
        assert len(set(attribute.values)) == len(attribute.values) and all(isinstance(each, str) for each in attribute.values)
        # -1 stands for no label, in sets of samples alone
        assert not len(column) or -(source.layout == "samples") <= column.min() <= column.max() < len(attribute.values)
    images, labels = load_arrays(source)
    assert len(images) == len(labels) == len(source) > 0
    _check_image(images[0])


def _read_samples(path: Path) -> None:
    samples = SampleSet.open(path)
    samples.check(samples.shards())
    assert samples.seconds_per_image is None or samples.seconds_per_image >= 0
    assert all(len(each) == len(samples) for each in samples.sample_notes().values())
    _read_set(path)


def _read_reference(path: Path) -> None:
    found = load_reference(path)
    assert found.normal is None or np.isfinite(found.normal.covariance).all()
    assert found.describe()["checksum"]


def _image(kind: str, suffix: str, mode: str = "RGB", **options) -> Target:
    def written(folder: Path) -> Path:
        grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
        image = Image.fromarray(np.stack([grey, grey.T, grey[::-1]], axis=-1)).convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(folder / f"image.{suffix}", kind, **options, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}))
        return folder / f"image.{suffix}"

    return Target(written, _read_image, examples=80)


def _celeb_a(*, kaggle: bool) -> Target:
    files = [f"{i + 1:06d}.jpg" for i in range(COUNT)]
    rows = np.random.default_rng(0).choice([-1, 1], (COUNT, 40)).tolist()
    tables = celeb_a_tables(dict(zip(files, rows, strict=True)), dict(zip(files, (0, 0, 1, 2), strict=True)), kaggle=kaggle)
    images = {f"img_align_celeba/{file}": encoded(i, "JPEG") for i, file in enumerate(files)}
    return _folder(images | tables)


def _folder(files: dict) -> Target:
    return Target(lambda folder: write(folder / "set", files), _read_set)


def _fair_face() -> Target:
    rows = [("train/1.jpg", "0-2", "Male", "White"), ("train/2.jpg", "3-9", "Female", "Black")]
    images = {row[0]: encoded(i, "JPEG") for i, row in enumerate(rows)}
    return _folder({"fairface_label_train.csv": fair_face_table(rows), **images})


def _npz(**arrays) -> Target:
    def written(folder: Path) -> Path:
        np.savez_compressed(folder / "set.npz", **arrays)
        return folder / "set.npz"

    return Target(written, _read_set)


def _image_folder(kind: str) -> Target:
    import pyarrow as pa

    names, labels = [f"{i}.png" for i in range(COUNT)], ["a", "b", "a", "b"]
    rows = list(zip(names, labels, strict=True))
    table = {
        "csv": "file_name,label\n" + "".join(f"{a},{b}\n" for a, b in rows),
        "jsonl": "\n".join(json.dumps({"file_name": a, "label": b, "note": 1.5}) for a, b in rows),
        "parquet": parquet(pa.table({"file_name": names, "label": labels})),
    }[kind]
    return _folder({f"{i}.png": encoded(i) for i in range(COUNT)} | {f"metadata.{kind}": table})


def _parquet() -> Target:
    import pyarrow as pa

    features = {"img": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": encoded(i), "path": f"{i}.png"} for i in range(COUNT)], kind)
    table = pa.table({"img": images, "label": pa.array([0, 1, 0, 1], pa.int64())})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    return _folder({"train-00000-of-00001.parquet": parquet(table, row_group_size=3)})


def _samples(storage: str) -> Target:
    def written(folder: Path) -> Path:
        attributes, labels = (Attribute("kind", ("a", "b")),), np.array([[0], [1], [0]], np.int32)
        made = SampleSet.create(
            folder / "set", {"seed": 0}, attributes, labels, space=Pixels(8, 8, 3), storage=storage,
            captions={"parts": ["x"], "image": "$own"},
        )  # fmt: skip
        made.write(0, np.stack([pixels(i) for i in range(3)]), {"seconds": np.arange(3.0)})
        made.record_seconds(0.5)
        return folder / "set"

    return Target(written, _read_samples)


def _reference(folder: Path) -> Path:
    images = np.stack([pixels(i) for i in range(2)])
    np.savez(folder / "reference.npz", mu=np.zeros(4), sigma=np.eye(4), arr_0=images)
    return folder / "reference.npz"


def _zip_in_zip(folder: Path) -> Path:
    inner = write_zip(folder / "inner.zip", _FILES)
    data = inner.read_bytes()
    inner.unlink()
    return write_zip(folder / "set.zip", {"faces.zip": data, "labels.csv": _TABLE})


def _utk_face() -> Target:
    names = [f"{20 + i}_{i % 2}_{i}_2016{i:013d}.jpg.chip.jpg" for i in range(COUNT)]
    return Target(
        lambda folder: write_zip(folder / "UTKFace.zip", {name: encoded(i, "JPEG") for i, name in enumerate(names)}), _read_set
    )


def _web_dataset(folder: Path) -> Path:
    members = {}
    for i in range(COUNT):
        members |= {f"{i}.cls": str(i % 2), f"{i}.json": json.dumps({"x": i % 2}), f"{i}.png": encoded(i)}
    return write_tar(folder / "train-000000.tar", members)


def _zipped(files: dict) -> Target:
    return Target(lambda folder: write_zip(folder / "set.zip", files, compressed=True), _read_set)


_IMAGES = np.stack([pixels(i) for i in range(COUNT)])

DATA_SETS: dict[str, Target] = {
    "image, PNG": _image("PNG", "png"),
    "image, PNG with a palette": _image("PNG", "png", "P"),
    "image, JPEG": _image("JPEG", "jpg"),
    "image, progressive JPEG": _image("JPEG", "jpg", progressive=True),
    "image, WebP": _image("WEBP", "webp"),
    "image, GIF": _image("GIF", "gif", "P"),
    "image, TIFF": _image("TIFF", "tif", compression="tiff_lzw"),
    "image, BMP": _image("BMP", "bmp"),
    "image, PPM": _image("PPM", "ppm"),
    "folder with labels.csv": _folder(_LABELLED),
    "zip with labels.csv": _zipped(_LABELLED),
    "zip in a zip": Target(_zip_in_zip, _read_set),
    "class folders": _zipped({f"{'ab'[i % 2]}/{i}.png": encoded(i) for i in range(COUNT)}),
    "images alone": _folder({f"{i}.png": encoded(i) for i in range(COUNT)}),
    "npz": _npz(images=_IMAGES, labels=np.array([[0], [1], [0], [1]]), attributes=["kind"], values_kind=["a", "b"],
                split=["train", "train", "validation", "test"]),
    "npz of floats": _npz(arr_0=_IMAGES / np.float32(255), arr_1=np.array(["a", "b", "a", "b"])),
    "samples, npz": _samples("npz"),
    "samples, png": _samples("png"),
    "CelebA": _celeb_a(kaggle=False),
    "CelebA, Kaggle's": _celeb_a(kaggle=True),
    "FairFace": _fair_face(),
    "UTKFace": _utk_face(),
    "StyleGAN": _zipped({f"{i}.png": encoded(i) for i in range(COUNT)}
                        | {"dataset.json": json.dumps({"labels": [[f"{i}.png", i % 2] for i in range(COUNT)]})}),
    "imagefolder, csv": _image_folder("csv"),
    "imagefolder, jsonl": _image_folder("jsonl"),
    "imagefolder, parquet": _image_folder("parquet"),
    "parquet": _parquet(),
    "WebDataset": Target(_web_dataset, _read_set),
    "reference file": Target(_reference, _read_reference),
}  # fmt: skip
