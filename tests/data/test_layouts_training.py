"""Layouts of training programs: StyleGAN and EDM, WebDataset, class folders, and images alone."""

import json

import pytest

from jaxdiff.data import open_data
from jaxdiff.errors import InputError
from tests.data.layouts import encoded, numbers, values, write, write_tar, write_zip


def stylegan(labels, count=20):
    """Images as dataset_tool.py packs them, and their labels."""
    names = [f"{i // 10:05d}/img{i:08d}.png" for i in range(count)]
    pairs = None if labels is None else [[name, labels[i]] for i, name in enumerate(names)]
    return {name: encoded(i) for i, name in enumerate(names)} | {"dataset.json": json.dumps({"labels": pairs})}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("one_hot", [False, True])
def test_stylegan_sets_have_the_labels_of_dataset_json(tmp_path, zipped, one_hot):
    labels = [[int(k == i % 4) for k in range(4)] if one_hot else i % 4 for i in range(20)]
    files = stylegan(labels)
    source = open_data(write_zip(tmp_path / "set.zip", files) if zipped else write(tmp_path, files), split="all")
    assert source.layout == "stylegan"
    assert values(source) == {i: (str(i % 4),) for i in range(20)}


def test_labels_of_stylegan_may_have_many_classes_or_several_parts_or_be_null(tmp_path):
    source = open_data(write_zip(tmp_path / "many.zip", stylegan(list(range(100, 160)), 60)), split="all")
    assert values(source) == {i: (str(100 + i),) for i in range(60)}
    parts = [[i % 2, i // 2 % 2, 1] for i in range(20)]
    source = open_data(write_zip(tmp_path / "parts.zip", stylegan(parts)), split="all")
    assert values(source) == {i: tuple(map(str, parts[i])) for i in range(20)}
    source = open_data(write_zip(tmp_path / "none.zip", stylegan(None)), split="all")
    assert source.attributes == () and sorted(numbers(source)) == list(range(20))


def test_wrong_stylegan_sets_are_errors(tmp_path):
    def opens(files):
        return open_data(write_zip(tmp_path / "set.zip", files), split="all")

    files = stylegan([i % 4 for i in range(20)])
    lacking = files | {"dataset.json": json.dumps({"labels": [["00000/img00000003.png", 1], ["gone.png", 2]]})}
    source = opens(lacking)
    assert values(source) == {3: ("1",)}
    assert {"19 of 20 images have no label and are left out", "1 of 2 labels have no image"} <= set(source.notes)
    for text, message in {
        "{": "dataset.json is damaged",
        "[]": "must be JSON like",
        '{"labels": 3}': "must be null or a list of pairs",
        '{"labels": [["gone.png", 1]]}': "labels of none of the 20 images",
        '{"labels": [["00000/img00000003.png", [0.25, 0.5]]]}': r"must be integers, or equally long lists .* got \[0.25, 0.5\]",
    }.items():
        with pytest.raises(InputError, match=message):
            opens(files | {"dataset.json": text})
    with pytest.raises(InputError, match=r"contains arrays \(latents\) and no images"):
        opens({"00000/img-mean-std-latents-00000000.npy": b"", "dataset.json": '{"labels": null}'})


def samples(indices, suffixes=("cls", "json", "txt")):
    """The files of samples of WebDataset."""
    files = {}
    for i in indices:
        entries = {"gender": ("male", "female")[i % 2], "young": i % 3 == 0, "score": 0.5, "crop": [0, 0], "sure": None}
        of = {"cls": str(i % 4), "json": json.dumps(entries), "txt": f"face {i % 5}\n"}
        files |= {f"{i:06d}.{suffix}": of[suffix] for suffix in suffixes} | {f"{i:06d}.jpg": encoded(i, "JPEG")}
    return files


def test_webdataset_shards_have_the_labels_of_their_members(tmp_path):
    parts = {"train": range(12), "validation": range(12, 18), "test": range(18, 24)}
    write_tar(tmp_path / "train-000000.tar", samples(range(6)))
    write_tar(tmp_path / "train-000001.tar", samples(range(6, 12)))
    write_tar(tmp_path / "val-000000.tar", samples(parts["validation"]))
    write_tar(tmp_path / "test-000000.tar", samples(parts["test"]))
    for part, indices in parts.items():
        source = open_data(tmp_path, split=part)
        assert source.layout == "webdataset"
        assert [attribute.name for attribute in source.attributes] == ["label", "text", "gender", "young"]
        expected = {i: (str(i % 4), f"face {i % 5}", ("male", "female")[i % 2], str(int(i % 3 == 0))) for i in indices}
        assert values(source) == expected
        assert any("'sure' is not used" in note for note in source.notes)


def test_entries_that_are_fractions_in_some_samples_are_no_attribute(tmp_path):
    # whole in the first samples
    scores = [0, 1, 0, 1, 0, 1, 0, 0.5]
    files = {f"{i}.json": json.dumps({"score": score, "kind": i % 2}) for i, score in enumerate(scores)}
    path = write_tar(tmp_path / "a.tar", files | {f"{i}.png": encoded(i) for i in range(8)})
    source = open_data(path, split="all")
    assert values(source) == {i: (str(i % 2),) for i in range(8)}
    assert source.notes == ("entries that are not texts, integers, booleans or null in all samples are not used: score",)
    with pytest.raises(InputError, match="unknown attribute 'score'"):
        open_data(path, attributes=["score"])


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_one_tar_and_what_it_unpacks_to_are_read(tmp_path, form):
    files = samples(range(10), ("cls",))
    path = write(tmp_path, files) if form == "folder" else write_tar(tmp_path / "faces-0.tar", files)
    assert values(open_data(path, split="all")) == {i: (str(i % 4),) for i in range(10)}


def test_wrong_samples_of_webdataset_are_errors(tmp_path):
    def opens(more):
        return open_data(write_tar(tmp_path / "a.tar", samples(range(2), ("cls",)) | more), split="all")

    assert values(opens({"000000.pyd": b"no pickle is opened", "000001.json": "[3]"})) == {0: ("0",), 1: ("1",)}
    assert values(opens({"000001.json": '{"label": 1}'})) == {0: ("0",), 1: ("1",)}
    for more, message in [
        ({"000001.json": '{"label": 2}'}, "has another 'label' than another file of the sample"),
        ({"000001.json": "{"}, "a.tar/000001.json is damaged: Expecting"),
        ({"000001.cls": b"\xff"}, "a.tar/000001.cls is damaged: .*utf-8"),
        ({"000001.mask.png": encoded(5)}, "has 2 images in sample 000001"),
    ]:
        with pytest.raises(InputError, match=message):
            opens(more)


@pytest.mark.parametrize("suffix", ["cls", "CLS"])
def test_names_with_dots_and_suffixes_in_capitals_keep_their_labels(tmp_path, suffix):
    files = {f"face.{i:02d}.JPG": encoded(i, "JPEG") for i in range(6)} | {
        f"face.{i:02d}.{suffix}": str(i % 3) for i in range(6)
    }
    source = open_data(write_tar(tmp_path / "a.tar", files), split="all")
    assert source.layout == "webdataset" and values(source) == {i: (str(i % 3),) for i in range(6)}


def test_shards_of_img2dataset_have_statistics_beside_them(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from tests.data.miniatures import parquet

    write_tar(tmp_path / "00000.tar", samples(range(5), ("json",)))
    write(tmp_path, {"00000.parquet": parquet(pa.table({"url": ["https://a"], "key": ["000000"]})), "00000_stats.json": "{}"})
    source = open_data(tmp_path, split="all", attributes=["gender"])
    assert values(source) == {i: (("male", "female")[i % 2],) for i in range(5)}
    assert "read as webdataset, though it is also parquet files with embedded images" in source.notes[0]


def test_samples_without_an_image_are_counted(tmp_path):
    files = samples(range(4), ("cls",)) | {"000009.cls": "1", "README.txt": "no sample"}
    source = open_data(write_tar(tmp_path / "a.tar", files), split="all", attributes=["label"])
    assert values(source) == {i: (str(i % 4),) for i in range(4)}
    assert "1 of 5 samples have no image and are left out" in source.notes


def test_class_folders_and_split_folders(tmp_path):
    classes = [("cat", "Dog", "10", "9")[i % 4] for i in range(24)]
    expected = {i: (classes[i],) for i in range(24)}
    flat = write(tmp_path / "flat", {f"{name}/{i}.png": encoded(i) for i, name in enumerate(classes)})
    source = open_data(flat, split="all")
    assert source.layout == "folders" and source.attributes[0].name == "label"
    assert source.attributes[0].values == ("9", "10", "Dog", "cat")
    assert values(source) == expected
    zipped = write_zip(tmp_path / "flat.zip", {f"data/{name}/{i}.png": encoded(i) for i, name in enumerate(classes)})
    assert values(open_data(zipped, split="all")) == expected
    parts = {"train": range(12), "validation": range(12, 18), "test": range(18, 24)}
    written = {"train": "train", "validation": "val", "test": "Test"}
    split = write(tmp_path / "split", {
        f"{written[part]}/{classes[i]}/{i}.png": encoded(i) for part, indices in parts.items() for i in indices
    })  # fmt: skip
    for part, indices in parts.items():
        assert values(open_data(split, split=part)) == {i: expected[i] for i in indices}


def test_a_class_called_train_is_a_class(tmp_path):
    files = {f"{name}/{i}.png": encoded(2 * i + k) for k, name in enumerate(("bus", "train")) for i in range(5)}
    assert values(open_data(write(tmp_path / "a", files), split="all")) == {i: (("bus", "train")[i % 2],) for i in range(10)}
    files = {f"{part}/{name}": data for part in ("train", "test") for name, data in files.items()}
    write(tmp_path / "b", files)
    for part in ("train", "test"):
        found = open_data(tmp_path / "b", split=part)
        names = values(found)
        assert all(names[i] == (("bus", "train")[i % 2],) for i in names)
    assert sorted(numbers(open_data(tmp_path / "b", split="test"))) == list(range(10))


def test_a_missing_validation_split_is_taken_from_train(tmp_path):
    write(tmp_path, {f"{'train' if i < 150 else 'test'}/{'ab'[i % 2]}/{i}.png": encoded(i) for i in range(200)})
    found = {split: set(numbers(open_data(tmp_path, split=split))) for split in ("train", "validation", "test")}
    assert found["test"] == set(range(150, 200))
    assert found["train"] | found["validation"] == set(range(150)) and not found["train"] & found["validation"]
    assert 5 < len(found["validation"]) < 30
    assert any("there is no validation split" in note for note in open_data(tmp_path).notes)


@pytest.mark.parametrize("folder", ["", "{:05d}/", "only/", "images1024x1024/{:05d}/"])
def test_images_alone_have_no_attributes(tmp_path, folder):
    source = open_data(write(tmp_path, {f"{folder.format(i // 4)}{i}.png": encoded(i) for i in range(12)}), split="all")
    assert source.layout == "images" and source.attributes == () and source.labels.shape == (12, 0)
    assert sorted(numbers(source)) == list(range(12))
    with pytest.raises(InputError, match="unknown attribute 'gender'; .* has none"):
        open_data(tmp_path, attributes=["gender"])


def test_images_alone_may_lie_in_split_folders(tmp_path):
    write(tmp_path, {f"{'train' if i < 8 else 'val' if i < 10 else 'test'}/{i}.png": encoded(i) for i in range(12)})
    assert [sorted(numbers(open_data(tmp_path, split=split))) for split in ("train", "validation", "test")] == [
        list(range(8)), [8, 9], [10, 11]
    ]  # fmt: skip


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="contains no image files, no labels.csv, nor data of another layout"):
        open_data(tmp_path)
