"""tfds data sets open without TensorFlow, with the labels and the splits of their publishers."""

import io
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from jaxdiff.data import batches, open_data
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels
from tests.data.layouts import CELEB_A

pytest.importorskip("tensorflow_datasets")


def jpeg(brightness):
    """A JPEG of one grey level, which the compression keeps to within a few levels."""
    file = io.BytesIO()
    Image.fromarray(np.full((22, 18, 3), brightness, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def png(brightness):
    """An open PNG file of one grey level: tfds needs TensorFlow to encode pixels itself."""
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), brightness, np.uint8)).save(file, "PNG")
    file.seek(0)
    return file


def by_brightness(source):
    """Labels by the number of the image, which is its brightness / 10."""
    return {round(source.image(i).mean() / 10): source.labels[i].tolist() for i in range(len(source))}


@pytest.fixture
def celeb_a(tmp_path):
    """The files of CelebA with 12 images, and their 40 values."""
    values = np.random.default_rng(0).choice([-1, 1], (12, 40))
    files = [f"{i + 1:06d}.jpg" for i in range(12)]
    rows = [f"{file} {' '.join(f'{value:2d}' for value in row)}" for file, row in zip(files, values, strict=True)]
    manual = tmp_path / "manual"
    manual.mkdir()
    (manual / "list_attr_celeba.txt").write_text("\n".join(["12", " ".join(CELEB_A) + " ", *rows]) + "\n")
    (manual / "list_eval_partition.txt").write_text("".join(f"{file} {i // 8 + i // 11}\n" for i, file in enumerate(files)))
    with zipfile.ZipFile(manual / "img_align_celeba.zip", "w") as archive:
        archive.writestr("img_align_celeba/", b"")
        for i, file in enumerate(files):
            archive.writestr(f"img_align_celeba/{file}", jpeg(10 * i))
    return manual, values


@pytest.mark.parametrize("unpacked", [False, True])
def test_celeb_a_has_its_labels_and_the_official_partition(celeb_a, tmp_path, unpacked):
    manual, values = celeb_a
    if unpacked:
        with zipfile.ZipFile(manual / "img_align_celeba.zip") as archive:
            archive.extractall(manual)
        (manual / "img_align_celeba.zip").unlink()
    spec = f"tfds:celeb_a_manual?manual_dir={manual}&data_dir={tmp_path / 'data'}"
    for split, numbers in {"train": range(8), "validation": range(8, 11), "test": [11], "all": range(12)}.items():
        source = open_data(spec, split=split)
        assert [attribute.name for attribute in source.attributes] == [name.lower() for name in CELEB_A]
        assert {attribute.values for attribute in source.attributes} == {("no", "yes")}
        assert by_brightness(source) == {i: ((values[i] + 1) // 2).tolist() for i in numbers}


def test_prepared_data_need_no_manual_files_and_give_batches(celeb_a, tmp_path):
    manual, values = celeb_a
    spec = f"tfds:celeb_a_manual?data_dir={tmp_path / 'data'}"
    open_data(spec, manual_dir=manual)
    source = open_data(spec, attributes=["male"], size=8)
    male = (values[:8, CELEB_A.index("Male")] + 1) // 2
    batch = next(batches(source, Pixels(8, 8), batch_size=8, seed=0))
    assert batch["x0"].shape == (8, 8, 8, 3)
    numbers = np.rint((batch["x0"].mean(axis=(1, 2, 3)) + 1) * 12.75).astype(int)
    np.testing.assert_array_equal(np.sort(numbers), np.arange(8))
    np.testing.assert_array_equal(batch["labels"][:, 0], male[numbers])


def test_malformed_celeb_a_files_are_errors_that_leave_nothing_prepared(celeb_a, tmp_path):
    manual, values = celeb_a
    spec = f"tfds:celeb_a_manual?data_dir={tmp_path / 'data'}"
    table = manual / "list_attr_celeba.txt"
    text = table.read_text()
    table.write_text(text.replace("000003.jpg -1", "000003.jpg  0").replace("000003.jpg  1", "000003.jpg  0"))
    with pytest.raises(InputError, match="row 5 of .*list_attr_celeba.txt must be a file name and 40 values"):
        open_data(spec, manual_dir=manual)
    table.write_text(text.replace("Male ", ""))
    with pytest.raises(InputError, match="40 attribute names in row 2"):
        open_data(spec, manual_dir=manual)
    table.write_text(text)
    (manual / "list_eval_partition.txt").write_text("000001.jpg 3\n")
    with pytest.raises(InputError, match="row 1 of .*list_eval_partition.txt must be a file name and 0"):
        open_data(spec, manual_dir=manual)
    (manual / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    with pytest.raises(InputError, match="must list the same files; only one of them lists 000002.jpg"):
        open_data(spec, manual_dir=manual)
    (manual / "list_eval_partition.txt").unlink()
    with pytest.raises(InputError, match="has no file list_eval_partition.txt"):
        open_data(spec, manual_dir=manual)
    with pytest.raises(InputError, match="must be downloaded by hand; `manual_dir` is None. .*img_align_celeba.zip"):
        open_data(spec)


@pytest.fixture
def fair_face(tmp_path):
    """The files of FairFace with 6 images to train and 16 to validate; gender is the parity of an image's number."""
    manual = tmp_path / "manual"
    for part, numbers in {"train": range(6), "val": range(6, 22)}.items():
        (manual / part).mkdir(parents=True)
        rows = ["file,age,gender,race,service_test"]
        for i in numbers:
            (manual / part / f"{i}.jpg").write_bytes(jpeg(10 * i))
            gender, race = ("Male", "Female")[i % 2], ("Latino_Hispanic", "Middle Eastern")[i % 3 == 0]
            rows.append(f"{part}/{i}.jpg,more than 70,{gender},{race},{bool(i % 2)}")
        (manual / f"fairface_label_{part}.csv").write_text("\n".join(rows) + "\n")
    return manual


def test_fair_face_halves_the_publishers_validation(fair_face, tmp_path):
    parts = {}
    for split in ("train", "validation", "test", "all"):
        source = open_data(f"tfds:fair_face_manual?data_dir={tmp_path / 'data'}", split=split, manual_dir=fair_face)
        assert [attribute.name for attribute in source.attributes] == ["age", "gender", "race"]
        assert [len(attribute.values) for attribute in source.attributes] == [9, 2, 7]
        parts[split] = by_brightness(source)
        for i, labels in parts[split].items():
            names = [attribute.values[label] for attribute, label in zip(source.attributes, labels, strict=True)]
            assert names == ["more than 70", ("Male", "Female")[i % 2], ("Latino_Hispanic", "Middle Eastern")[i % 3 == 0]]
    assert set(parts["train"]) == set(range(6))
    assert set(parts["validation"]) | set(parts["test"]) == set(range(6, 22))
    assert not set(parts["validation"]) & set(parts["test"])
    assert 3 <= len(parts["test"]) <= 13


def test_fair_face_names_a_bad_row(fair_face, tmp_path):
    table = fair_face / "fairface_label_val.csv"
    table.write_text(table.read_text().replace("val/7.jpg,more than 70", "val/7.jpg,99"))
    with pytest.raises(InputError, match="row 3 of .*fairface_label_val.csv has age '99'; it takes 0-2"):
        open_data(f"tfds:fair_face_manual?data_dir={tmp_path / 'data'}", manual_dir=fair_face)
    (fair_face / "val" / "8.jpg").unlink()
    table.write_text(table.read_text().replace(",99,", ",more than 70,"))
    with pytest.raises(InputError, match="1 of 22 images are missing in .*, the first is val/8.jpg"):
        open_data(f"tfds:fair_face_manual?data_dir={tmp_path / 'data'}", manual_dir=fair_face)


def toy_builder(toy_name, features, examples, splits):
    """A tfds builder of a data set such as those that tfds itself knows."""
    import tensorflow_datasets as tfds

    class Toy(tfds.core.GeneratorBasedBuilder):
        name = toy_name
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features(tfds.features)))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(count) for split, count in splits.items()}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, examples(i)

    return Toy


def test_any_tfds_data_set_with_one_image_opens(tmp_path):
    builder = toy_builder(
        "toy_digits",
        lambda f: {
            "picture": f.Image(shape=(4, 4, 1)),
            "kind": f.ClassLabel(names=["even", "odd"]),
            "attributes": {"Large": np.bool_, "weight": np.float32},
        },
        lambda i: {
            "picture": png(i % 200),
            "kind": i % 2,
            "attributes": {"Large": i % 200 > 99, "weight": 1.0},
        },
        {"train": 400, "test": 20},
    )
    builder(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    sources = {
        split: open_data(f"tfds:toy_digits?data_dir={tmp_path}", split=split) for split in ("train", "validation", "test")
    }
    assert len(sources["test"]) == 20
    assert len(sources["train"]) + len(sources["validation"]) == 400
    assert abs(len(sources["validation"]) - 40) < 5 * np.sqrt(400 * 0.1 * 0.9)
    for source in sources.values():
        assert [(each.name, each.values) for each in source.attributes] == [("kind", ("even", "odd")), ("Large", ("no", "yes"))]
        for i in range(len(source)):
            number = source.image(i)[0, 0, 0]
            assert source.labels[i].tolist() == [number % 2, number > 99]
    info = next(tmp_path.rglob("dataset_info.json"))
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(InputError, match="toy_digits is prepared .* as tfrecord, .* prepare it again as array_record"):
        open_data(f"tfds:toy_digits?data_dir={tmp_path}")


def test_data_sets_without_one_image_or_without_labels_are_errors(tmp_path):
    cases = {
        "toy_pair": (lambda f: {"a": f.Image(), "b": f.Image()}, lambda i: {"a": png(0), "b": png(0)}, "2 image features"),
        "toy_hidden": (
            lambda f: {"a": f.Image(), "b": f.ClassLabel(num_classes=2)},
            lambda i: {"a": png(0), "b": -1},
            "without a label",
        ),
    }
    for name, (features, examples, message) in cases.items():
        builder = toy_builder(name, features, examples, {"train": 2})
        builder(data_dir=tmp_path, file_format="array_record").download_and_prepare()
        with pytest.raises(InputError, match=message):
            open_data(f"tfds:{name}?data_dir={tmp_path}")


def test_unknown_names_and_options_are_errors(tmp_path):
    with pytest.raises(InputError, match="no data set 'no_such_data'.* celeb_a_manual, fair_face_manual"):
        open_data(f"tfds:no_such_data?data_dir={tmp_path}")
    with pytest.raises(InputError, match="unknown option 'folder'"):
        open_data("tfds:mnist?folder=x")
    with pytest.raises(InputError, match="`value_names` must be left out"):
        open_data("tfds:mnist", value_names={"label": ["a"]})


def test_each_copy_is_prepared_of_its_own_files_and_once(fair_face, tmp_path):
    def levels(manual, data=tmp_path / "data"):
        return sorted(by_brightness(open_data(f"tfds:fair_face_manual?data_dir={data}", split="train", manual_dir=manual)))

    def prepared(data=tmp_path / "data"):
        return len(list(data.glob("by_manual_dir/*")))

    assert levels(fair_face) == levels(fair_face) == list(range(6)) and prepared() == 1
    # an image of the same size deep in the folder, whose own time does not change
    level = next(level for level in range(250, 60, -10) if len(jpeg(level)) == len(jpeg(50)))
    (fair_face / "train" / "5.jpg").write_bytes(jpeg(level))
    assert levels(fair_face) == levels(fair_face) == [0, 1, 2, 3, 4, level // 10] and prepared() == 2
    # a copy, with the same sizes and times
    shutil.copytree(fair_face, tmp_path / "copy")
    assert levels(tmp_path / "copy") == levels(fair_face) and prepared() == 3
    with pytest.raises(InputError, match="is prepared of 3 folders in .*; give `manual_dir`"):
        open_data(f"tfds:fair_face_manual?data_dir={tmp_path / 'data'}")
    # within the folder of the files, which is read again
    inside = fair_face / "data"
    assert levels(fair_face, inside) == levels(fair_face, inside) and prepared(inside) == 1


def test_tensorflow_is_never_imported(celeb_a, tmp_path):
    program = f"""
import sys
from jaxdiff.data import batches, open_data
from jaxdiff.spaces import Pixels
source = open_data("tfds:celeb_a_manual?data_dir={tmp_path / "data"}", manual_dir={str(celeb_a[0])!r}, size=8)
next(batches(source, Pixels(8, 8), batch_size=4, seed=0))
assert "tensorflow_datasets" in sys.modules
print(sorted(name for name in sys.modules if name.partition(".")[0] == "tensorflow"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")
