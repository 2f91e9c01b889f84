"""Synthetic copies of published data sets, written from their descriptions: a thousandth of their images, in their splits.

The colour of an image is its number, of which its labels are a function.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.layouts import celeb_a_tables, encoded, fair_face_table, pixels, write, write_tar, write_zip


@dataclass(frozen=True)
class Miniature:
    """A copy.

    Attributes:
        layout: the name of its reader.
        write: writes it into a folder and returns what a user opens.
        labels: the values of each image, by its number, of the attributes named.
        attributes: the attributes that are asked for.
        splits: the number of images of the splits that the publisher has.
        note: part of a note.
    """

    layout: str
    write: Callable[[Path], Path]
    labels: Mapping[int, tuple[str, ...]]
    attributes: tuple[str, ...] = ("label",)
    splits: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


# CelebA: 202,599 images; 162,770, 19,867 and 19,962 in the three parts
CELEB_A_COUNTS = (163, 20, 20)
_table = np.random.default_rng(0).choice([-1, 1], (sum(CELEB_A_COUNTS), 40)).tolist()
_files = [f"{i + 1:06d}.jpg" for i in range(len(_table))]
_parts = np.repeat([0, 1, 2], CELEB_A_COUNTS).tolist()
MALE, YOUNG = 20, 39  # the places of two of the 40 attributes


def _by_split(train, validation, test):
    return {"train": train, "validation": validation, "test": test}


def _celeb_a(root, *, kaggle=False, folder="img_align_celeba/", kind="JPEG", how="folder"):
    tables = celeb_a_tables(
        dict(zip(_files, _table, strict=True)), dict(zip(_files, _parts, strict=True)), kaggle=kaggle
    )  # fmt: skip
    suffix = {"JPEG": "jpg", "PNG": "png"}[kind]
    images = {f"{folder}{file[:6]}.{suffix}": encoded(i, kind) for i, file in enumerate(_files)}
    if how == "folder":
        return write(root / "celeba", images | tables)
    if how == "zip":
        return write_zip(root / "archive.zip", images | tables)
    inner = write_zip(root / "celeba" / "img_align_celeba.zip", images)
    if how == "zip beside":
        return write(root / "celeba", tables).resolve()
    # what a file server packs of the download folder; many programs compress a zip in a zip once more
    packed = {"CelebA/Img/img_align_celeba.zip": inner.read_bytes()}
    packed |= {f"CelebA/{'Anno' if 'attr' in name else 'Eval'}/{name}": text for name, text in tables.items()}
    return write_zip(root / "CelebA.zip", packed, compressed=how == "compressed zip in a zip")


def _celeb_a_copy(**options):
    words = {-1: "no", 1: "yes"}
    labels = {i: (words[row[MALE]], words[row[YOUNG]]) for i, row in enumerate(_table)}
    return Miniature("celeba", lambda root: _celeb_a(root, **options), labels, ("male", "young"), _by_split(*CELEB_A_COUNTS))


# FairFace: 86,744 and 10,954 images
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
_faces = [(AGES[i % 9], ("Male", "Female")[i % 2], RACES[i % 7]) for i in range(98)]


def _fair_face(root, *, packed):
    files = [f"train/{i + 1}.jpg" if i < 87 else f"val/{i - 86}.jpg" for i in range(98)]
    rows = [(file, *row) for file, row in zip(files, _faces, strict=True)]
    tables = {"fairface_label_train.csv": fair_face_table(rows[:87]), "fairface_label_val.csv": fair_face_table(rows[87:])}
    images = {file: encoded(i, "JPEG") for i, file in enumerate(files)}
    write(root / "fairface", tables if packed else tables | images)
    if packed:
        write_zip(root / "fairface" / "fairface-img-margin025-trainval.zip", images)
    return root / "fairface"


def _fair_face_copy(**options):
    labels = dict(enumerate(_faces))
    return Miniature("fairface", lambda root: _fair_face(root, **options), labels, ("age", "gender", "race"), {"train": 87})


# UTKFace: 23,705 images of the aligned set, and three whose names lack the race
UTK_RACES = ("White", "Black", "Asian", "Indian", "Others")
_utk = [(1 + 4 * i, i % 2, i % 5) for i in range(24)]


def _utk_face(root):
    files = {f"{a}_{g}_{r}_201612{i:011d}.jpg.chip.jpg": encoded(i, "JPEG") for i, (a, g, r) in enumerate(_utk)}
    irregular = ("39_1_20170116174525125", "61_1_20170109142408075", "61_1_20170109150557335")
    return write(root / "UTKFace", files | {f"{name}.jpg.chip.jpg": encoded(99, "JPEG") for name in irregular})


# of 60,000 images as CIFAR-10 has: ten classes in order of the number, 50,000 of them to train and 10,000 to test
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _stylegan(root):
    names = [f"{i // 25:05d}/img{i:08d}.png" for i in range(50)]
    # dataset_tool.py of EDM sorts neither
    labels = [[name, i % 10] for i, name in enumerate(names)][::-1]
    files = {name: encoded(i) for i, name in enumerate(names)} | {"dataset.json": json.dumps({"labels": labels})}
    return write_zip(root / "cifar10-32x32.zip", files)


def parquet(table, **options):
    """The bytes of a parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def _hub(root):
    """The parquet files that Hugging Face's hub has of a data set."""
    info = {"info": {"features": {"img": {"_type": "Image"}, "label": {"names": list(CIFAR), "_type": "ClassLabel"}}}}

    def shard(indices):
        images = [{"bytes": encoded(i), "path": f"{i}.png"} for i in indices]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({"img": pa.array(images, kind), "label": pa.array([i % 10 for i in indices], pa.int64())})
        return parquet(table.replace_schema_metadata({"huggingface": json.dumps(info)}), row_group_size=7)

    return write(root / "cifar10", {
        "README.md": "---\nconfigs: []\n---\n",
        "plain_text/train-00000-of-00002.parquet": shard(range(25)),
        "plain_text/train-00001-of-00002.parquet": shard(range(25, 50)),
        "plain_text/test-00000-of-00001.parquet": shard(range(50, 60)),
    })  # fmt: skip


def _image_folder(root, kind):
    """An imagefolder with a table for each split."""
    for part, indices in {"train": range(16), "validation": range(16, 20), "test": range(20, 24)}.items():
        names = [f"{i:04d}.png" for i in indices]
        label = [CIFAR[i % 10] for i in indices]
        table = {
            "csv": lambda n=names, v=label: "file_name,label\n" + "".join(f"{a},{b}\n" for a, b in zip(n, v, strict=True)),
            "jsonl": lambda n=names, v=label: "".join(
                json.dumps({"file_name": a, "label": b}) + "\n" for a, b in zip(n, v, strict=True)
            ),
            "parquet": lambda n=names, v=label: parquet(pa.table({"file_name": n, "label": v})),
        }[kind]()
        images = {name: encoded(i) for name, i in zip(names, indices, strict=True)}
        write(root / "data" / part, images | {f"metadata.{kind}": table})
    return root / "data"


def _npz(root, *, reference=False):
    images = np.stack([pixels(i) for i in range(50)])
    arrays = {"arr_0": images, "arr_1": np.arange(50) % 10}
    if reference:
        arrays |= {"mu": np.zeros(8), "sigma": np.eye(8), "mu_s": np.zeros(8), "sigma_s": np.eye(8)}
    np.savez(root / "samples_50x8x8x3.npz", **arrays)
    return root / "samples_50x8x8x3.npz"


def _web_dataset(root):
    for shard, indices in {"train-000000": range(25), "train-000001": range(25, 50), "test-000000": range(50, 60)}.items():
        members = {f"{i:06d}.cls": str(i % 10) for i in indices} | {f"{i:06d}.JPG": encoded(i, "JPEG") for i in indices}
        write_tar(root / "shards" / f"{shard}.tar", dict(sorted(members.items())))
    return root / "shards"


def _class_folders(root):
    parts = {"train": range(50), "test": range(50, 60)}
    return write(root / "cifar10", {f"{part}/{CIFAR[i % 10]}/{i:04d}.png": encoded(i) for part, n in parts.items() for i in n})


def _excel(root):
    """A table as a spreadsheet writes it: a byte-order mark, semicolons, an index and backslashes."""
    rows = [f"{i};images\\{i:04d}.png;{CIFAR[i % 10]}" for i in range(50)]
    table = "\r\n".join([";file_name;label", *rows, ""]).encode("utf-8-sig")
    return write(root / "faces", {f"images/{i:04d}.png": encoded(i) for i in range(50)} | {"labels.csv": table})


_classes = {i: (CIFAR[i % 10],) for i in range(60)}
_numbers = {i: (str(i % 10),) for i in range(60)}


def _first(labels, count):
    return {i: labels[i] for i in range(count)}


def _image_folder_copy(kind):
    return Miniature(
        "imagefolder", lambda root: _image_folder(root, kind), _first(_classes, 24), splits=_by_split(16, 4, 4)
    )  # fmt: skip


MINIATURES = {
    "celeba, the publisher's": _celeb_a_copy(),
    "celeba, zip beside the tables": _celeb_a_copy(how="zip beside"),
    "celeba, zip in a zip": _celeb_a_copy(how="zip in a zip"),
    "celeba, compressed zip in a zip": _celeb_a_copy(how="compressed zip in a zip"),
    "celeba, flat zip": _celeb_a_copy(how="zip in a zip", folder=""),
    "celeba, aligned PNG": _celeb_a_copy(folder="img_align_celeba_png/", kind="PNG"),
    "celeba, Kaggle's": _celeb_a_copy(how="zip", folder="img_align_celeba/img_align_celeba/", kaggle=True),
    "fairface": _fair_face_copy(packed=False),
    "fairface, zip beside the tables": _fair_face_copy(packed=True),
    "utkface": Miniature(
        "utkface", _utk_face, {i: (("male", "female")[g], UTK_RACES[r], str(a)) for i, (a, g, r) in enumerate(_utk)},
        ("gender", "race", "age"), note="3 of 27 files are skipped",
    ),
    "stylegan": Miniature("stylegan", _stylegan, _first(_numbers, 50)),
    "imagefolder, csv": _image_folder_copy("csv"),
    "imagefolder, jsonl": _image_folder_copy("jsonl"),
    "imagefolder, parquet": _image_folder_copy("parquet"),
    "parquet": Miniature("parquet", _hub, _classes, splits={"test": 10}, note="taken from train"),
    "npz of guided-diffusion": Miniature("npz", _npz, _first(_numbers, 50), note="images are the array arr_0"),
    "npz, reference batch": Miniature("npz", lambda root: _npz(root, reference=True), _first(_numbers, 50)),
    "webdataset": Miniature("webdataset", _web_dataset, _numbers, splits={"test": 10}, note="taken from train"),
    "folders": Miniature("folders", _class_folders, _classes, splits={"test": 10}, note="taken from train"),
    "table": Miniature("table", _excel, _first(_classes, 50), note="'file_name' of labels.csv names the images"),
}  # fmt: skip
