"""UTKFace, CelebA and FairFace are read as they are downloaded, with the labels that the pixels say."""

import numpy as np
import pytest

from jaxdiff.data import open_data
from jaxdiff.data.readers import Request
from jaxdiff.data.readers.celeba import CelebA
from jaxdiff.data.readers.reader import Wanted
from jaxdiff.errors import InputError
from tests.data.layouts import CELEB_A, celeb_a_tables, encoded, fair_face_table, numbers, values, write, write_tar, write_zip

RACES = ("White", "Black", "Asian", "Indian", "Others")
# three files of the aligned set have no race
IRREGULAR = [
    "39_1_20170116174525125.jpg.chip.jpg",
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_1_20170109150557335.jpg.chip.jpg",
]


def utk_face(count=20):
    """Aligned faces of 200 x 200 pixels by their files, and their age, gender and race."""
    rows = [(1 + 5 * i, i % 2, i % 5) for i in range(count)]
    names = [f"{age}_{gender}_{race}_201701{i:011d}.jpg.chip.jpg" for i, (age, gender, race) in enumerate(rows)]
    return {name: encoded(i, "JPEG", (200, 200)) for i, name in enumerate(names)}, rows


@pytest.mark.parametrize("form", ["folder", "parts", "zip", "tar"])
def test_utkface_has_the_labels_of_its_file_names(tmp_path, form):
    files, rows = utk_face()
    files |= {name: encoded(99, "JPEG") for name in IRREGULAR}
    if form == "parts":
        files = {f"part{1 + i % 3}/{name}": data for i, (name, data) in enumerate(files.items())}
    packed = {f"UTKFace/{name}": data for name, data in files.items()}
    path = {
        "zip": lambda: write_zip(tmp_path / "UTKFace.zip", packed),
        "tar": lambda: write_tar(tmp_path / "UTKFace.tar", packed),
    }.get(form, lambda: write(tmp_path, files))()
    source = open_data(path, split="all", attributes=["gender", "race", "age"])
    assert source.layout == "utkface"
    assert values(source) == {i: (("male", "female")[g], RACES[r], str(a)) for i, (a, g, r) in enumerate(rows)}
    assert source.attributes[1].values == RACES
    assert any(note.startswith("3 of 23 files are skipped") for note in source.notes)


def test_age_groups_of_utkface_are_fairfaces(tmp_path):
    ages = [0, 2, 3, 9, 10, 19, 20, 29, 30, 39, 40, 49, 50, 59, 60, 69, 70, 116]
    write(tmp_path, {f"{age}_0_0_20170116{i:09d}.jpg.chip.jpg": encoded(i, "JPEG") for i, age in enumerate(ages)})
    # the youngest and the oldest of each group
    expected = [group for group in AGES for _ in range(2)]
    source = open_data(tmp_path, split="all", attributes=["age_group"])
    assert [values(source)[i][0] for i in range(18)] == expected


def test_an_aligned_face_of_utkface_is_in_the_split_of_its_original(tmp_path):
    files, _ = utk_face(60)
    write(tmp_path / "aligned", files)
    originals = {name.removesuffix(".chip.jpg"): data for name, data in files.items()}
    write(tmp_path / "original", {f"part{i % 2}/{name}": data for i, (name, data) in enumerate(originals.items())})
    for split in ("train", "validation", "test"):
        aligned, original = (numbers(open_data(tmp_path / each, split=split)) for each in ("aligned", "original"))
        assert sorted(aligned) == sorted(original)


def test_files_of_utkface_that_repeat_a_name_are_read_once(tmp_path):
    files, rows = utk_face()
    # as Kaggle has it: a part of the set, and both once more
    folders = {"crop_part1": 8, "UTKFace": 20, "utkface_aligned_cropped/crop_part1": 8, "utkface_aligned_cropped/UTKFace": 20}
    for folder, count in folders.items():
        write(tmp_path, {f"{folder}/{name}": data for name, data in list(files.items())[:count]})
    source = open_data(tmp_path, split="all", attributes=["age"])
    assert sorted(numbers(source)) == list(range(20)) and values(source) == {i: (str(row[0]),) for i, row in enumerate(rows)}
    assert "36 of 56 files are skipped: they have the name of another in another folder" in source.notes


def celeb_a(count=24):
    """The values and the partition of each file."""
    table = np.random.default_rng(0).choice([-1, 1], (count, 40)).tolist()
    files = [f"{i + 1:06d}.jpg" for i in range(count)]
    return dict(zip(files, table, strict=True)), {file: i % 3 for i, file in enumerate(files)}


CELEB_A_FORMS = {
    "publisher": ("folder", "img_align_celeba/{}.jpg", False),
    "publisher, zipped images": ("images.zip", "img_align_celeba/{}.jpg", False),
    "publisher, folders of the download": ("download", "img_align_celeba/{}.jpg", False),
    "aligned PNG": ("folder", "img_align_celeba_png/{}.png", False),
    "Kaggle": ("folder", "img_align_celeba/img_align_celeba/{}.jpg", True),
    "Kaggle, zipped": ("zip", "img_align_celeba/img_align_celeba/{}.jpg", True),
    "flat zip": ("images.zip", "{}.jpg", True),
}


@pytest.mark.parametrize("form", CELEB_A_FORMS)
def test_celeb_a_has_its_labels_and_the_official_partition(tmp_path, form):
    how, path, kaggle = CELEB_A_FORMS[form]
    table, partition = celeb_a()
    tables = celeb_a_tables(table, partition, kaggle=kaggle)
    kind = "PNG" if path.endswith("png") else "JPEG"
    images = {path.format(file[:6]): encoded(i, kind, (218, 178)) for i, file in enumerate(table)}
    root = tmp_path / "celeba"
    if how == "zip":
        root = write_zip(tmp_path / "archive.zip", images | tables)
    elif how == "folder":
        write(root, images | tables)
    elif how == "images.zip":
        write(root, tables)
        write_zip(root / "img_align_celeba.zip", images)
    else:
        write(root, {f"{'Anno' if 'attr' in name else 'Eval'}/{name}": text for name, text in tables.items()})
        write_zip(root / "Img" / "img_align_celeba.zip", images)
    for part, split in enumerate(("train", "validation", "test")):
        source = open_data(root, split=split)
        assert source.layout == "celeba" and source.image(0).shape == (218, 178, 3)
        assert [attribute.name for attribute in source.attributes] == [name.lower() for name in CELEB_A]
        assert {attribute.values for attribute in source.attributes} == {("no", "yes")}
        expected = {i: tuple({-1: "no", 1: "yes"}[v] for v in row) for i, row in enumerate(table.values()) if i % 3 == part}
        assert values(source) == expected


def test_aligned_images_come_before_those_in_the_wild(tmp_path):
    table, partition = celeb_a()
    write(tmp_path, celeb_a_tables(table, partition))
    write(tmp_path, {f"img_align_celeba/{file}": encoded(i, "JPEG") for i, file in enumerate(table)})
    write(tmp_path, {f"img_celeba/{file}": encoded(99, "JPEG") for file in table})
    assert sorted(numbers(open_data(tmp_path, split="all"))) == list(range(24))


def test_the_published_tables_of_celeb_a_are_read_whole_with_a_part_of_the_images(tmp_path):
    count, first_validation, first_test = 202_599, 162_771, 182_638
    files = [f"{i + 1:06d}.jpg" for i in range(count)]
    row = [-1, 1] * 20
    table = dict.fromkeys(files, row)
    partition = {file: (i >= first_validation) + (i >= first_test) for i, file in enumerate(files, start=1)}
    write(tmp_path, celeb_a_tables(table, partition))
    edges = [1, 162_770, 162_771, 182_637, 182_638, 202_599]
    write(tmp_path / "img_align_celeba", {f"{i:06d}.jpg": encoded(k, "JPEG", (218, 178)) for k, i in enumerate(edges)})
    read = CelebA().read(Request(str(tmp_path))).taken(Wanted(["arched_eyebrows", "attractive"]))
    assert values(read.source) == dict.fromkeys(range(6), ("yes", "no"))
    assert read.splits.tolist() == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    assert "202593 of 202599 rows of list_attr_celeba.txt have no image and are left out" in read.notes


def test_celeb_a_says_what_is_missing(tmp_path):
    table, partition = celeb_a()
    tables = celeb_a_tables(table, partition)
    write(tmp_path, tables)
    with pytest.raises(InputError, match=r"contains no image files, .* and none of the 24 images of list_attr_celeba.txt"):
        open_data(tmp_path)
    write(tmp_path, {"img_align_celeba_png.7z.001": b""})
    with pytest.raises(InputError, match=r"contains no image files; unpack img_align_celeba_png.7z.001 first"):
        open_data(tmp_path)
    write(tmp_path, {"img_align_celeba/999999.jpg": encoded(0, "JPEG")})
    with pytest.raises(InputError, match=r"contains none of the 24 images of list_attr_celeba.txt"):
        open_data(tmp_path)
    write(tmp_path, {f"img_align_celeba/{file}": encoded(i, "JPEG") for i, file in enumerate(table)})
    (tmp_path / "list_eval_partition.txt").unlink()
    source = open_data(tmp_path, split="all")
    assert len(source) == 24 and any("not the official" in note for note in source.notes)
    assert "1 of 25 images are not in list_attr_celeba.txt and are left out" in source.notes
    broken = tables["list_attr_celeba.txt"].replace("000003.jpg -1", "000003.jpg  0").replace("000003.jpg  1", "000003.jpg  0")
    write(tmp_path, {"list_attr_celeba.txt": broken})
    with pytest.raises(InputError, match=r"row 5 of .*list_attr_celeba.txt must be a file name and 40 values"):
        open_data(tmp_path)


AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
FAIR_RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")


@pytest.mark.parametrize("form", ["folders", "folder of the zip", "zip beside the tables", "zip"])
def test_fairface_has_its_labels_and_halves_the_publishers_validation(tmp_path, form):
    rows = [(AGES[i % 9], ("Male", "Female")[i % 2], FAIR_RACES[i % 7]) for i in range(60)]
    # numbers start at 1 in both folders, so base names repeat
    files = [f"train/{i + 1}.jpg" if i < 20 else f"val/{i - 19}.jpg" for i in range(60)]
    tables = {
        "fairface_label_train.csv": fair_face_table([(f, *row) for f, row in zip(files[:20], rows[:20], strict=True)]),
        "fairface_label_val.csv": fair_face_table([(f, *row) for f, row in zip(files[20:], rows[20:], strict=True)]),
    }
    images = {file: encoded(i, "JPEG", (224, 224)) for i, file in enumerate(files)}
    root = tmp_path / "fairface"
    if form == "folders":
        write(root, images | tables)
    elif form == "zip":
        root = write_zip(tmp_path / "fairface.zip", {f"FairFace/{name}": data for name, data in (images | tables).items()})
    elif form == "zip beside the tables":
        write(root, tables)
        write_zip(root / "fairface-img-margin025-trainval.zip", images)
    else:
        write(root, tables | {f"fairface-img-margin025-trainval/{name}": data for name, data in images.items()})
    parts = {split: open_data(root, split=split) for split in ("train", "validation", "test")}
    found = {split: values(source) for split, source in parts.items()}
    assert {source.layout for source in parts.values()} == {"fairface"}
    assert [(each.name, each.values) for each in parts["train"].attributes] == [
        ("age", AGES), ("gender", ("Male", "Female")), ("race", FAIR_RACES)
    ]  # fmt: skip
    assert found["train"] == dict(enumerate(rows[:20]))
    assert found["validation"] | found["test"] == dict(enumerate(rows[20:], start=20))
    assert not found["validation"].keys() & found["test"].keys() and min(len(found["validation"]), len(found["test"])) > 10


def fair_face_tables(train, validation):
    """Tables with equal rows."""
    row = ("3-9", "Male", "Indian")
    return {
        f"fairface_label_{part}.csv": fair_face_table([(f"{part}/{i + 1}.jpg", *row) for i in range(count)])
        for part, count in {"train": train, "val": validation}.items()
    }


def test_the_published_tables_of_fairface_are_read_whole_with_a_part_of_the_images(tmp_path):
    faces = {"train/86744.jpg": encoded(5, "JPEG"), "val/10954.jpg": encoded(6, "JPEG"), "val/0.png": encoded(7)}
    source = open_data(write(tmp_path, fair_face_tables(86_744, 10_954) | faces), split="all")
    assert values(source) == dict.fromkeys((5, 6), ("3-9", "Male", "Indian"))
    assert "97696 of 97698 rows of the tables have no image and are left out" in source.notes
    assert "1 of 3 images are in no table and are left out" in source.notes


def test_fairface_says_what_is_wrong(tmp_path):
    tables = fair_face_tables(5, 3)
    write(tmp_path, tables)
    with pytest.raises(InputError, match=r"contains no image files, .*; its tables list 8 images"):
        open_data(tmp_path)
    write(tmp_path, {"train/5.jpg": encoded(5, "JPEG")})
    text = tables["fairface_label_train.csv"]
    write(tmp_path, {"fairface_label_train.csv": text.replace("train/4.jpg,3-9", "train/4.jpg,4")})
    with pytest.raises(InputError, match=r"row 5 of .*fairface_label_train.csv has age '4'; it takes 0-2, 3-9"):
        open_data(tmp_path)
    write(tmp_path, {"fairface_label_train.csv": text})
    (tmp_path / "fairface_label_val.csv").unlink()
    source = open_data(tmp_path, split="train")
    assert numbers(source) == [5] and "no fairface_label_val.csv: its images are left out" in source.notes
    # both croppings, with margins of 0.25 and 1.25
    write(tmp_path, {"margin125/train/5.jpg": encoded(5, "JPEG")})
    with pytest.raises(InputError, match=r"contains two images train/5.jpg: .*margin125/train/5.jpg and .*; expected one"):
        open_data(tmp_path)
