"""Synthetic copies of published layouts, written from their public descriptions. The colour of an image is its number."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image

# fmt: off
CELEB_A = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses", "Goatee",
    "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair",
    "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
]
# fmt: on


def pixels(number, size=(8, 8)):
    """An image whose colour is its number, below 256."""
    image = np.empty((*size, 3), np.uint8)
    image[:] = 20 + 12 * (number // 16), 20 + 12 * (number % 16), 100
    return image


def encoded(number, kind="PNG", size=(8, 8)):
    """The file of an image whose colour is its number; JPEG keeps a uniform colour to within a few levels."""
    file = io.BytesIO()
    Image.fromarray(pixels(number, size)).save(file, kind)
    return file.getvalue()


def numbers(source):
    """The numbers of a source's images, from their colours."""
    means = np.stack([source.image(i).reshape(-1, 3).mean(axis=0) for i in range(len(source))])
    tens, ones = np.rint((means[:, :2] - 20) / 12).astype(int).T
    return (16 * tens + ones).tolist()


def values(source):
    """The names of the values of each image by its number, as its colour says."""
    names = [attribute.values for attribute in source.attributes]
    rows = [tuple(each[code] for each, code in zip(names, row, strict=True)) for row in source.labels]
    return dict(zip(numbers(source), rows, strict=True))


def write(root, files):
    """Writes files by their paths: bytes or text."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def write_zip(path, files, *, compressed=False):
    """A zip of files by their paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files, *, mode="w"):
    """A tar of files by their paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def celeb_a_tables(table, partition, *, kaggle=False):
    """The tables of attributes (-1 or 1, by file) and of the partition (by file) as the publisher's text files or Kaggle's CSV
    files."""
    if kaggle:
        rows = [",".join([file, *map(str, row)]) for file, row in table.items()]
        return {
            "list_attr_celeba.csv": "\n".join(["image_id," + ",".join(CELEB_A), *rows]) + "\n",
            "list_eval_partition.csv": "\n".join(["image_id,partition", *(f"{f},{p}" for f, p in partition.items())]) + "\n",
        }
    lines = {tuple(row): " ".join(f"{value:2d}" for value in row) for row in {tuple(row) for row in table.values()}}
    rows = [f"{file} {lines[tuple(row)]}" for file, row in table.items()]
    return {
        "list_attr_celeba.txt": "\n".join([str(len(table)), " ".join(CELEB_A) + " ", *rows]) + "\n",
        "list_eval_partition.txt": "".join(f"{file} {part}\n" for file, part in partition.items()),
    }


def fair_face_table(rows):
    """A table of FairFace: file, age, gender, race by row."""
    return "file,age,gender,race,service_test\n" + "".join(",".join([*row, "True"]) + "\n" for row in rows)
