"""Tables as other programs write them, zipped folders, and what is said of a data set."""

import shutil
import zipfile

import pytest

from jaxdiff.data import describe, load_arrays, open_data
from jaxdiff.errors import InputError

KINDS = ["red", "blue", "blue", "red", "red"]


def right(path, **options):
    """Whether every image has the label of its colour."""
    source = open_data(path, split="all", attributes=["kind"], **options)
    images, labels = load_arrays(source)
    assert sorted(source.attributes[0].values[code] for code in labels[:, 0]) == sorted(KINDS)
    return all(
        source.attributes[0].values[code] == ("red" if image[0, 0, 0] else "blue")
        for image, code in zip(images, labels[:, 0], strict=True)
    )


WRITTEN = {
    "byte-order mark": lambda text: text.encode("utf-8-sig"),
    "utf-16 with tabs": lambda text: text.replace(",", "\t").encode("utf-16"),
    "separators within quotes": lambda text: "\n".join(
        row + (",v" if i else ',"x;y;z;w"') for i, row in enumerate(text.split())
    ).encode(),
    "old line ends": lambda text: text.replace("\n", "\r").encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "sep=": lambda text: ("sep=;\r\n" + text.replace(",", ";").replace("\n", "\r\n")).encode(),
    "sep= and old line ends": lambda text: ("sep=;\r" + text.replace(",", ";").replace("\n", "\r")).encode(),
    "carriage returns": lambda text: text.replace("\n", "\r\n").encode(),
    "blank and empty lines": lambda text: (text + "\n,\n\n").encode(),
    "quotes": lambda text: "\n".join(",".join(f'"{cell}"' for cell in row.split(",")) for row in text.split()).encode(),
    "pandas index": lambda text: "\n".join(f"{i or ''},{row}" for i, row in enumerate(text.split())).encode(),
    "pandas index, read back": lambda text: "\n".join(
        f"{i - 1 if i else 'Unnamed: 0'},{row}" for i, row in enumerate(text.split())
    ).encode(),
    "file_name": lambda text: text.replace("file", "file_name", 1).encode(),
    "image_path after": lambda text: "\n".join(
        ",".join(reversed(row.split(","))) for row in text.replace("file", "image_path", 1).split()
    ).encode(),
    "backslashes": lambda text: text.replace("images/", "images\\").encode(),
    "dot": lambda text: text.replace("images/", "./images//").encode(),
    "dot and backslash": lambda text: text.replace("images/", ".\\images\\").encode(),
    "base names": lambda text: text.replace("images/", "").encode(),
    "a column that is not used": lambda text: "\n".join(
        f"{row},{'age' if not i else '' if i == 2 else i}" for i, row in enumerate(text.split())
    ).encode(),
}


@pytest.fixture
def folder(tmp_path, write_faces):
    """A folder with labels.csv beside a folder of images."""
    (tmp_path / "faces" / "images").mkdir(parents=True)
    write_faces(tmp_path / "faces" / "images", KINDS)
    table = (tmp_path / "faces" / "images" / "labels.csv").read_text()
    (tmp_path / "faces" / "images" / "labels.csv").unlink()
    rows = [f"images/{row}" if i else row for i, row in enumerate(table.split())]
    (tmp_path / "faces" / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "faces"


@pytest.mark.parametrize("how", WRITTEN)
def test_labels_are_those_of_the_pixels(folder, how):
    train = open_data(folder, split="train").labels.tolist()
    table = folder / "labels.csv"
    table.write_bytes(WRITTEN[how](table.read_text()))
    assert right(folder)
    if how not in ("base names", "a column that is not used"):  # the split is that of the path, however it is written
        assert open_data(folder, split="train", attributes=["kind"]).labels.tolist() == train


@pytest.mark.parametrize("root", ["inside", "around", "deep"])
def test_a_zipped_folder_reads_as_the_folder(folder, root):
    base = {"inside": folder, "around": folder.parent, "deep": folder.parent.parent}[root]
    name = folder.parent.parent / f"{root}-zip"
    made = shutil.make_archive(str(name), "zip", base, str(folder.relative_to(base)))
    assert right(made)
    one, other = (open_data(path, split="train") for path in (made, folder))
    assert one.labels.tolist() == other.labels.tolist()


def test_a_zip_whose_table_has_the_folders_name_too(folder):
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("images/", "faces/images/"))
    assert right(shutil.make_archive(str(folder), "zip", folder.parent, "faces"))


def test_a_table_in_a_folder_below_names_files_beside_it(folder):
    assert right(folder.parent)


def test_metadata_files_of_macos_are_no_images(folder):
    for i in range(3):
        (folder / "images" / f"._{i}.png").write_bytes(b"metadata")
    (folder / "._labels.csv").write_bytes(b"metadata")
    assert right(folder)
    with zipfile.ZipFile(shutil.make_archive(str(folder), "zip", folder.parent, "faces"), "a") as archive:
        archive.writestr("__MACOSX/faces/._labels.csv", b"metadata")
    assert right(folder.with_suffix(".zip"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,kind\nimages/0.png,red\n.\\images\\0.png,red\n", "row 3 .* repeats 'images/0.png' .*first used in row 2"),
        ("file,kind\nlabels.csv,red\n", "row 2 .* 'labels.csv' .* is not an image file"),
        ("name,kind\nimages/0.png,red\n", "no column 'file' .or file_name, .*; row 1 has name, kind"),
        ("file,,kind\nimages/0.png,1,red\n", "distinct, non-empty column names"),
        ("file,kind\n,red\n", "row 2 .* no value in column 'file'"),
        ("sep=;\nfile;kind\n\nimages/0.png\n", "row 4 .* has 1 fields; expected 2: file, kind"),
        ("file,kind\nimages/7.png,red\nimages/0.png,red\n", "row 2 .* 'images/7.png' .*, which does not exist$"),
        ("file,kind\n0.png,red\n7.png,red\n8.png,red\n", "row 3 .* '7.png' .* does not exist; 2 of 3 images are missing"),
    ],
)
def test_wrong_tables_are_errors(folder, table, message):
    (folder / "labels.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        open_data(folder)


@pytest.mark.parametrize("name", ["labels.csv", "Labels.CSV"])
def test_images_that_the_table_does_not_name_are_counted(folder, name):
    table = folder / "labels.csv"
    rows = table.read_text().split()
    table.unlink()
    (folder / name).write_text("\n".join(rows[:-2]) + "\n")
    source = open_data(folder, split="all")
    assert len(source) == 3 and "2 of 5 images are not in labels.csv and are left out" in source.notes


@pytest.mark.parametrize("how", sorted(WRITTEN.keys() - {"file_name", "image_path after", "base names"}))
def test_metadata_of_an_imagefolder_are_read_as_tables_are(folder, how):
    text = (folder / "labels.csv").read_text().replace("file,", "file_name,", 1)
    (folder / "labels.csv").unlink()
    (folder / "metadata.csv").write_bytes(WRITTEN[how](text))
    assert open_data(folder, split="all", attributes=["kind"]).layout == "imagefolder" and right(folder)


def test_values_can_be_named_by_code_in_attributes_json(folder):
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace(",red", ",1").replace(",blue", ",2"))
    (folder / "attributes.json").write_text('{"kind": {"1": "red", "2": "blue"}}')
    assert right(folder)
    assert right(folder, value_names={"kind": {1: "red", 2: "blue"}})
    for wrong in ('{"kind": {"1": 2}}', '{"kind": "red"}', '["kind"]'):
        (folder / "attributes.json").write_text(wrong)
        with pytest.raises(InputError, match="attributes.json must be like"):
            open_data(folder)


def test_a_data_set_is_described(folder):
    table = folder / "labels.csv"
    rows = [f"{row},{'wide' if not i else 'NA' if i == 2 else i}" for i, row in enumerate(table.read_text().split())]
    table.write_text("\n".join(rows) + "\n")
    text, note = describe(open_data(folder, split="all")).split("\n")
    assert text == f"{folder} (split 'all'): 5 images; 4x4 RGB; read as table; kind: blue 2, red 3"
    assert "'wide' is not used: 1 of 5 images" in note
    part = describe(open_data(f"{folder}:kind=blue", split="all"))
    assert "2 of 5 images" in part and "kind=blue" in part and note in part


def test_the_layout_can_be_named(folder):
    assert open_data(folder, layout="table").layout == "table"
    with pytest.raises(InputError, match="`layout` must be one of .*table.*, got 'tables'"):
        open_data(folder, layout="tables")
    with pytest.raises(InputError, match="is not of the layout 'npz', an .npz with arrays"):
        open_data(folder, layout="npz")


def test_without_a_split_a_data_set_without_splits_is_used_whole(folder):
    assert len(open_data(folder, split=None)) == 5
    table = folder / "labels.csv"
    rows = [f"{row},{'split' if not i else 'test' if i == 2 else 'train'}" for i, row in enumerate(table.read_text().split())]
    table.write_text("\n".join(rows) + "\n")
    assert len(open_data(folder, split=None)) == 4
    assert len(open_data("embedded", split=None)) == 50_000
