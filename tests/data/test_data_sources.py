"""Folders, zips, npz files and the embedded data give their images and labels, and errors name what is wrong with them."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxdiff.data import ArraySource, Attribute, DataSet, batches, embedded, load_arrays, open_data, require_two_values, verify
from jaxdiff.data.readers import npz
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels

SHARED = Path(__file__).parents[3] / "shared" / "data"


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def pictures(count, height=6, width=6):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def write_table(folder, rows, header="file,gender"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")


@pytest.fixture
def faces(tmp_path):
    """A folder of 60 images in two subfolders, with a text and a number column and one with too many values."""
    images = pictures(60)
    rows = [f"{'ab'[i % 2]}/{i}.png,{('male', 'female')[i % 3 == 0]},{i % 5},{i}" for i in range(60)]
    write_table(tmp_path, rows, "file,gender,race,age")
    for name in "ab":
        (tmp_path / name).mkdir()
    for i, image in enumerate(images):
        (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(png(image))
    return tmp_path, images


def test_folder_gives_its_images_and_labels(faces):
    folder, images = faces
    source = open_data(folder, split="all")
    assert source.attributes == (Attribute("gender", ("female", "male")), Attribute("race", ("0", "1", "2", "3", "4")))
    np.testing.assert_array_equal(source.labels, [[int(i % 3 != 0), i % 5] for i in range(60)])
    element = source[7]
    np.testing.assert_array_equal(element["image"], images[7])
    np.testing.assert_array_equal(element["labels"], source.labels[7])
    assert element["index"] == 7
    assert source.labels.dtype == np.int32 and element["image"].dtype == np.uint8


@pytest.mark.parametrize("layout", ["zip in a folder", "zip with its labels", "base names"])
def test_every_layout_gives_what_the_folder_gives(faces, tmp_path_factory, layout):
    folder, images = faces
    other = tmp_path_factory.mktemp("other")
    table = (folder / "labels.csv").read_text()
    prefix = "deep/down/" if layout != "zip in a folder" else ""
    if layout == "base names":
        table = table.replace("a/", "").replace("b/", "")
    with zipfile.ZipFile(other / "data.zip", "w") as archive:
        for i, image in enumerate(images):
            archive.writestr(f"{prefix if layout == 'base names' else ''}{'ab'[i % 2]}/{i}.png", png(image))
        archive.writestr("__MACOSX/a/._0.png", b"not an image")
        if layout == "zip with its labels":
            archive.writestr("labels.csv", table)
    if layout != "zip with its labels":
        (other / "labels.csv").write_text(table)
    found, labels = load_arrays(open_data(other / "data.zip" if layout == "zip with its labels" else other, split="all"))
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(labels[:, 1], np.arange(60) % 5)


def test_images_are_cropped_to_the_centre_and_resized(tmp_path):
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = [200, 100, 50]  # the central square has one colour
    write_table(tmp_path, ["x.png,a"])
    (tmp_path / "x.png").write_bytes(png(image))
    assert (open_data(tmp_path, split="all", size=8).image(0) == [200, 100, 50]).all()
    noise = pictures(1, 32, 32)[0]
    (tmp_path / "x.png").write_bytes(png(noise))
    small = open_data(tmp_path, split="all", size=8).image(0)
    # Antialiased: each pixel averages over at least its own 4 x 4 block, so the spread falls about fourfold.
    assert small.std() < noise.std() / 2
    assert abs(small.mean() - noise.mean()) < 5


def mixed(tmp_path):
    """A folder of a grey image, one of four channels, and one of a palette with transparency, in this order."""
    grey = np.arange(36, dtype=np.uint8).reshape(6, 6)
    clear = np.dstack([pictures(1)[0], np.full((6, 6), 7, np.uint8)])
    write_table(tmp_path, ["grey.png,a", "clear.png,b", "palette.png,b"])
    (tmp_path / "grey.png").write_bytes(png(grey))
    (tmp_path / "clear.png").write_bytes(png(clear))
    palette = Image.fromarray(grey).convert("P")
    palette.save(tmp_path / "palette.png", transparency=bytes(range(256)))
    return grey, clear


def test_images_are_converted_to_the_requested_channels(tmp_path):
    grey, clear = mixed(tmp_path)
    one, three, four = (open_data(tmp_path, split="all", channels=channels) for channels in (1, 3, 4))
    np.testing.assert_array_equal(one.image(0), grey[..., None])
    np.testing.assert_array_equal(one.image(2), grey[..., None])
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B, within the rounding of integers
    np.testing.assert_allclose(one.image(1)[..., 0], clear[..., :3] @ np.array([0.299, 0.587, 0.114]), atol=1)
    np.testing.assert_array_equal(three.image(0), np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(three.image(1), clear[..., :3])
    np.testing.assert_array_equal(three.image(2), np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(four.image(0), np.dstack([grey, grey, grey, np.full((6, 6), 255)]))
    np.testing.assert_array_equal(four.image(1), clear)
    np.testing.assert_array_equal(four.image(2)[..., 3].ravel(), np.arange(36))


def test_without_a_number_of_channels_the_first_image_decides_and_none_loses_any(tmp_path):
    mixed(tmp_path)
    source = open_data(tmp_path, split="all")
    assert source.image(0).shape == (6, 6, 1)
    with pytest.raises(InputError, match="image 1 .* is RGB and transparency .* first image is grey; set `channels`"):
        source.image(1)
    write_table(tmp_path, ["clear.png,b", "grey.png,a"])
    assert [image.shape[-1] for image in load_arrays(open_data(tmp_path, split="all"))[0]] == [4, 4]
    with pytest.raises(InputError, match="`channels` must be 1 .grey., 3 .RGB., 4 .RGB and transparency., got 2"):
        open_data(tmp_path, split="all", channels=2)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_cropped_to_the_shape_of_the_size_and_not_stretched(tmp_path, channels):
    # a white square of 8 on black in the middle of 40 x 24: as high as it is wide in every crop
    image = np.zeros((40, 24, channels), np.uint8)
    image[16:24, 8:16] = 255
    if channels == 4:
        image[..., 3] = 255
    source = ArraySource(image[None], np.zeros((1, 0), np.int32), [])
    for size, scale in (((20, 12), 0.5), ((24, 24), 1), ((12, 24), 1), ((40, 8), 1), ((80, 48), 2)):
        shown = View(source, size=size).image(0)
        assert shown.shape == (*size, channels)
        bright = shown[..., 0] > 127
        assert bright.any(1).sum() == bright.any(0).sum() == 8 * scale


@pytest.mark.parametrize(
    ("values", "names", "labels"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        (["b", "a", "b"], ("b", "a"), [0, 1, 0]),
        (["1", "1", "1"], ("no", "yes"), [1, 1, 1]),
        (["-1", "1", "-1"], {"-1": "no", "1": "yes"}, [0, 1, 0]),
        (["1", "1", "1"], {"-1": "no", "1": "yes"}, [1, 1, 1]),
    ],
)
def test_named_values_keep_their_meaning(tmp_path, values, names, labels):
    write_table(tmp_path, [f"{i}.png,{value}" for i, value in enumerate(values)])
    for i, image in enumerate(pictures(3)):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    source = open_data(tmp_path, split="all", value_names={"gender": names})
    own = tuple(names.values()) if isinstance(names, dict) else names
    assert source.attributes == (Attribute("gender", own),)
    np.testing.assert_array_equal(source.labels[:, 0], labels)
    (tmp_path / "attributes.json").write_text(json.dumps({"gender": names}))
    by_file = open_data(tmp_path, split="all")
    assert by_file.attributes == source.attributes and (by_file.labels == source.labels).all()


def test_integers_sort_as_numbers_and_labels_agree_across_splits(tmp_path):
    rows = [f"{i}.png,{value},{split}" for i, (value, split) in enumerate([(10, "test"), (9, "train"), (100, "train")])]
    write_table(tmp_path, rows, "file,size,split")
    for i, image in enumerate(pictures(3)):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    train, test = (open_data(tmp_path, split=split) for split in ("train", "test"))
    assert train.attributes == test.attributes == (Attribute("size", ("9", "10", "100")),)
    assert train.labels.tolist() == [[0], [2]] and test.labels.tolist() == [[1]]


BAD_TABLES = {
    "no column file": ("name,gender", ["0.png,a"], "no column 'file' .*; row 1 has name, gender"),
    "empty value": ("file,gender", ["0.png,a", "1.png,"], "'gender' is not used: 1 of 2 images have no value of it"),
    "missing field": ("file,gender", ["0.png,a", "1.png"], "row 3 .* has 1 fields; expected 2"),
    "extra field": ("file,gender", ["0.png,a,b"], "row 2 .* has 3 fields; expected 2"),
    "duplicate": ("file,gender", ["0.png,a", "1.png,b", "0.png,a"], "row 4 .* repeats '0.png' .* first used in row 2"),
    "not there": ("file,gender", ["0.png,a", "9.png,b"], "row 3 .* has '9.png' in column 'file', which does not exist"),
    "outside": ("file,gender", ["../0.png,a"], "row 2 .* has '../0.png' in column 'file', which does not exist"),
    "bad split": (
        "file,split",
        ["0.png,holdout"],
        "row 2 .* has 'holdout' in column 'split'; allowed values: train, validation, test",
    ),
    "no rows": ("file,gender", [], "no rows below the header"),
    "twice": ("file,file", ["0.png,a"], "distinct, non-empty column names"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_malformed_tables_are_named_by_row_and_column(tmp_path, case):
    header, rows, message = BAD_TABLES[case]
    write_table(tmp_path, rows, header)
    for i, image in enumerate(pictures(3)):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    with pytest.raises(InputError, match=message):
        open_data(tmp_path, split="all")


def test_ambiguous_base_names_and_two_names_of_one_image_are_errors(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(png(pictures(1)[0]))
    write_table(tmp_path, ["0.png,x"])
    with pytest.raises(InputError, match="the name of 2 images"):
        open_data(tmp_path)
    (tmp_path / "b" / "0.png").unlink()
    write_table(tmp_path, ["0.png,x", "a/0.png,y"])
    with pytest.raises(InputError, match="row 3 .* same image a/0.png as in row 2"):
        open_data(tmp_path)


def test_missing_things_are_errors(tmp_path):
    with pytest.raises(InputError, match="no data at"):
        open_data(tmp_path / "nowhere")
    with pytest.raises(InputError, match="file .*gone.npz does not exist"):
        open_data(tmp_path / "gone.npz")
    with pytest.raises(InputError, match="no labels.csv"):
        open_data(tmp_path)
    write_table(tmp_path, ["0.png,a"])
    with pytest.raises(InputError, match="contains no image files"):
        open_data(tmp_path)
    (tmp_path / "images.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="images.zip is damaged: File is not a zip file"):
        open_data(tmp_path)


@pytest.mark.parametrize("damage", [b"no image", b""])
def test_damaged_images_are_named_before_training(faces, damage):
    folder, _ = faces
    whole = (folder / "b" / "3.png").read_bytes()
    (folder / "b" / "3.png").write_bytes(damage or whole[: len(whole) // 2])
    source = open_data(folder, split="all")
    with pytest.raises(InputError, match="b/3.png (cannot be decoded|cannot be read: image file is truncated)"):
        verify(source)
    with pytest.raises(InputError, match="b/3.png (cannot be decoded|cannot be read: image file is truncated)"):
        source.image(3)
    (folder / "b" / "3.png").write_bytes(whole)
    verify(source)


def test_images_of_another_size_are_errors_without_a_size(faces):
    folder, _ = faces
    (folder / "b" / "3.png").write_bytes(png(pictures(1, 9, 9)[0]))
    with pytest.raises(InputError, match="image 3 .* 9 x 9 .* 6 x 6"):
        verify(open_data(folder, split="all"))
    verify(open_data(folder, split="all", size=4))


def test_unknown_attributes_and_unusable_ones_are_errors(faces):
    folder, _ = faces
    with pytest.raises(InputError, match="unknown attribute 'hair'.*gender, race, age"):
        open_data(folder, attributes=["hair"])
    with pytest.raises(InputError, match="attribute 'age' has 60 distinct values"):
        open_data(folder, attributes=["age"])
    with pytest.raises(InputError, match="has the values female, male, which the names woman, man do not match"):
        open_data(folder, value_names={"gender": ("woman", "man")})
    with pytest.raises(InputError, match="unknown split 'dev'"):
        open_data(folder, split="dev")
    chosen = open_data(folder, split="all", attributes=["race", "gender"])
    assert [attribute.name for attribute in chosen.attributes] == ["race", "gender"]
    np.testing.assert_array_equal(chosen.labels[:, 0], np.arange(60) % 5)


def test_one_class_attributes_are_errors_where_two_are_needed(tmp_path):
    write_table(tmp_path, ["0.png,male,train", "1.png,male,train", "2.png,female,test"], "file,gender,split")
    for i, image in enumerate(pictures(3)):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    with pytest.raises(InputError, match="'gender' has only the value 'male' in .*split 'train'"):
        require_two_values(open_data(tmp_path), "gender")
    require_two_values(open_data(tmp_path, split="all"), "gender")
    with pytest.raises(InputError, match="split 'validation' .* empty; .* 2 train, 0 validation, 1 test"):
        open_data(tmp_path, split="validation")


def write_npz(path, count=500, **arrays):
    images = np.broadcast_to(np.arange(count, dtype=np.uint16)[:, None, None, None], (count, 2, 2, 3)) % 251
    np.savez(path, **{"images": images.astype(np.uint8), "labels": np.arange(count) % 3, **arrays})


def keys(path, split):
    return set(open_data(path, split=split).labels[:, 0].tolist())


def test_splits_are_disjoint_complete_and_do_not_move_when_data_are_added(tmp_path):
    def parts(count):
        path = tmp_path / f"{count}.npz"
        write_npz(path, count, labels=np.arange(count), values_label=np.arange(count).astype(str))
        return [keys(path, split) for split in ("train", "validation", "test")]

    small, large = parts(2000), parts(3000)
    assert sum(map(len, small)) == 2000 and set.union(*small) == set(range(2000))
    for few, many, share in zip(small, large, (0.8, 0.1, 0.1), strict=True):
        assert few == {key for key in many if key < 2000}
        assert abs(len(few) - 2000 * share) < 5 * np.sqrt(2000 * share * (1 - share))
    # Written down once: a change of the hash would move every user's test images into training.
    assert sorted(small[2])[:5] == [1, 7, 10, 15, 24]


def test_npz_labels_attributes_and_names(tmp_path):
    path = tmp_path / "x.npz"
    labels = np.stack([np.arange(500) % 2, np.arange(500) % 3], axis=1)
    write_npz(path, labels=labels, attributes=["gender", "race"], values_gender=["male", "female"])
    source = open_data(path, split="all")
    assert source.attributes == (Attribute("gender", ("male", "female")), Attribute("race", ("0", "1", "2")))
    np.testing.assert_array_equal(source.labels, labels)
    write_npz(path, labels=labels, split=np.where(np.arange(500) < 100, "test", "train"))
    assert len(open_data(path, split="test")) == 100
    assert [attribute.name for attribute in open_data(path).attributes] == ["label0", "label1"]


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_npz_floats_are_rounded_to_the_nearest_level(tmp_path, low):
    levels = pictures(4)
    images = (levels / 255 * (1 - low) + low).astype(np.float32)
    images.flat[0], levels.flat[0] = low, 0
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(4))
    np.testing.assert_array_equal(load_arrays(open_data(tmp_path / "x.npz", split="all"))[0], levels)


BAD_ARRAYS = {
    "nan": ({"images": np.array([0.0, np.nan, 1.0]).reshape(3, 1, 1)}, "contain NaN or infinity, the first is image 1"),
    "infinite": ({"images": np.array([0.0, 1.0, np.inf]).reshape(3, 1, 1)}, "the first is image 2"),
    "range": ({"images": np.array([0.0, 10.0, 1.0]).reshape(3, 1, 1)}, "got 0 to 10"),
    "shape": ({"images": np.zeros((3, 2, 2, 2), np.uint8)}, r"got \(3, 2, 2, 2\)"),
    "integers": ({"images": np.zeros((3, 2, 2, 3), np.int64)}, "got int64"),
    "count": ({"labels": np.arange(4)}, "3 images but labels for 4"),
    "float labels": ({"labels": np.zeros(3)}, "must be integers or strings"),
    "names": ({"attributes": ["a", "b"]}, "1 distinct names"),
    "objects": ({"labels": np.array([None, 1, "a"], object)}, "x.npz holds objects, which"),
    "split": ({"split": ["train", "test", "holdout"]}, "must be one of train, validation, test"),
}


def test_an_array_that_is_no_npz_file_is_an_error(tmp_path):
    with open(tmp_path / "x.npz", "wb") as file:
        np.save(file, np.zeros((3, 2, 2, 3), np.uint8))
    with pytest.raises(InputError, match="x.npz must be an npz file, got a single array"):
        open_data(tmp_path / "x.npz", split="all")


def test_splits_have_the_names_that_folders_have(tmp_path):
    given = ["train", "Training", "val", "valid", "dev", "testing"]
    write_npz(tmp_path / "x.npz", 6, split=given)
    write_table(tmp_path / "x", [f"{i}.png,{name}" for i, name in enumerate(given)], "file,split")
    for i, image in enumerate(pictures(6)):
        (tmp_path / "x" / f"{i}.png").write_bytes(png(image))
    for path in (tmp_path / "x.npz", tmp_path / "x"):
        assert [len(open_data(path, split=split)) for split in ("train", "validation", "test")] == [2, 3, 1]


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_malformed_npz_files_are_errors(tmp_path, case):
    arrays, message = BAD_ARRAYS[case]
    write_npz(tmp_path / "x.npz", 3, **arrays)
    with pytest.raises(InputError, match=message):
        open_data(tmp_path / "x.npz", split="all")


def test_load_arrays_draws_without_replacement_by_seed(tmp_path):
    path = tmp_path / "x.npz"
    write_npz(path, 200, labels=np.arange(200), values_label=np.arange(200).astype(str))
    source = open_data(path, split="all")
    images, labels = load_arrays(source, count=50, seed=1)
    assert len(set(labels[:, 0].tolist())) == 50
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels[:, 0])
    assert labels[:, 0].tolist() != sorted(labels[:, 0].tolist())
    np.testing.assert_array_equal(load_arrays(source, count=20, seed=1)[1], labels[:20])
    assert load_arrays(source, count=50, seed=2)[1].tolist() != labels.tolist()
    with pytest.raises(InputError, match="`count` must be between 1 and the 200 images"):
        load_arrays(source, count=201)


def test_a_cached_source_is_the_same_source_unless_too_large(faces):
    source = open_data(faces[0], split="all")
    cached = source.cached()
    assert isinstance(cached, ArraySource) and (cached.name, cached.attributes) == (source.name, source.attributes)
    for i in range(60):
        np.testing.assert_array_equal(cached.image(i), source.image(i))
    np.testing.assert_array_equal(cached.labels, source.labels)
    assert source.cached(limit=1000) is source


def test_array_source_refuses_what_does_not_belong_together():
    gender = Attribute("gender", ("male", "female"))
    with pytest.raises(InputError, match="3 images but labels for 2"):
        ArraySource(pictures(3), np.zeros((2, 1), np.int32), [gender])
    with pytest.raises(InputError, match="2 labels an image but 1 attributes"):
        ArraySource(pictures(3), np.zeros((3, 2), np.int32), [gender])
    with pytest.raises(InputError, match="within 0 and 1, got 0 to 2"):
        ArraySource(pictures(3), np.array([[0], [1], [2]], np.int32), [gender])


def test_embedded_data_have_disjoint_splits_and_the_given_associations():
    source = open_data("embedded?seed=3&hair=0.9,0.1", split="validation", attributes=["group", "hair"])
    assert len(source) == 10_000 and len(open_data("embedded")) == 50_000
    for group, share in enumerate((0.9, 0.1)):
        hair = source.labels[source.labels[:, 0] == group, 1]
        assert abs(hair.mean() - share) < 5 * np.sqrt(0.9 * 0.1 / len(hair))
    images, labels = embedded.generate(np.arange(50_000, 50_200), seed=3, associations={"hair": (0.9, 0.1)}, size=48)
    drawn = open_data("embedded?seed=3&hair=0.9,0.1", split="validation", size=48)
    np.testing.assert_array_equal(np.stack(drawn.gather(np.arange(200))), images)
    np.testing.assert_array_equal(drawn.image(7), images[7])
    np.testing.assert_array_equal(drawn.labels[:200], labels)
    assert open_data("embedded", size=8).image(0).shape == (8, 8, 3)


@pytest.mark.parametrize("spec", ["embedded?seed=x", "embedded?hair=0.5,a", "embedded?nose=0.5,0.5", "embedded?hair=0.5,2"])
def test_options_of_the_embedded_data_are_checked(spec):
    with pytest.raises(InputError, match="options of|associations"):
        open_data(spec)


PAIRS = Pixels(2, 2)  # the space of the images of `numbered`


def numbered(count):
    """A source whose labels identify each element, and whose images are not symmetric."""
    images = np.zeros((count, 2, 2, 3), np.uint8)
    images[:, :, 0] = 255
    attribute = Attribute("number", tuple(map(str, range(count))))
    return ArraySource(images, np.arange(count, dtype=np.int32)[:, None], [attribute])


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_batches_scale_images_to_minus_one_and_one():
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 1, 1, 3)
    source = ArraySource(images, np.zeros((256, 0), np.int32), [])
    batch = next(batches(source, Pixels(1, 1), batch_size=256, seed=0))
    assert batch["x0"].dtype == np.float32 and batch["labels"].shape == (256, 0)
    np.testing.assert_allclose(np.sort(batch["x0"][:, 0, 0, 0]), np.linspace(-1, 1, 256), atol=1e-6)


def test_every_epoch_visits_each_element_once_in_another_order():
    stream = np.concatenate([batch["labels"][:, 0] for batch in take(batches(numbered(20), PAIRS, batch_size=8, seed=3), 15)])
    epochs = stream.reshape(6, 20)
    assert (np.sort(epochs, axis=1) == np.arange(20)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_flips_are_a_fair_coin_drawn_anew_each_epoch():
    drawn = take(batches(numbered(50), PAIRS, batch_size=50, seed=0, flip=True), 20)
    flipped = np.array([(batch["x0"][:, 0, 0, 0] < 0)[np.argsort(batch["labels"][:, 0])] for batch in drawn])
    for batch in drawn:
        np.testing.assert_array_equal(batch["x0"][:, 0, 0], -batch["x0"][:, 0, 1])
    assert abs(flipped.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)
    assert (flipped.any(axis=0) & ~flipped.all(axis=0)).all()


@pytest.mark.parametrize("way", ["start", "state"])
def test_a_resumed_run_continues_exactly(way):
    options = {"batch_size": 8, "seed": 5, "flip": True}
    whole = take(batches(numbered(20), PAIRS, **options), 9)
    first = batches(numbered(20), PAIRS, **options)
    take(first, 4)
    resumed = batches(numbered(20), PAIRS, **options, start=4 if way == "start" else 0)
    if way == "state":
        resumed.set_state(first.get_state())
    for one, other in zip(whole[4:], take(resumed, 5), strict=True):
        np.testing.assert_array_equal(one["x0"], other["x0"])
        np.testing.assert_array_equal(one["labels"], other["labels"])


def test_batches_depend_on_the_seed_and_not_on_threads_or_shards():
    def labels(**options):
        return np.stack([batch["labels"][:, 0] for batch in take(batches(numbered(20), PAIRS, batch_size=8, **options), 5)])

    one = labels(seed=1)
    np.testing.assert_array_equal(one, labels(seed=1, threads=4))
    np.testing.assert_array_equal(one[:, 4:], labels(seed=1, shard=(1, 2)))
    assert (one != labels(seed=2)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 21}, "`batch_size` must be between 1 and the 20 images"),
        ({"batch_size": 8, "seed": -1}, "`seed` must be"),
        ({"batch_size": 8, "shard": (0, 3)}, "`shard` must be"),
        ({"batch_size": 8, "start": -1}, "`start` must be"),
    ],
)
def test_arguments_of_batches_out_of_range_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        batches(numbered(20), PAIRS, **{"seed": 0, **options})


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_real_data_open():
    digits = open_data(SHARED / "mnist" / "mnist10k.npz", split="all")
    assert len(digits) == 10_000 and digits.image(0).shape == (28, 28, 1)
    assert digits.attributes == (Attribute("label", tuple("0123456789")),)
    faces = open_data(SHARED / "utkface", split="all", size=32, value_names={"gender": ("male", "female")})
    assert len(faces) == 10_000 and faces.image(9_999).shape == (32, 32, 3)
    assert [attribute.name for attribute in faces.attributes] == ["gender", "race", "young"]
    assert np.bincount(faces.labels[:, 0]).tolist() == [5_000, 5_000]


def test_a_data_set_that_is_read_once_gives_the_sources_that_opening_gives(tmp_path, monkeypatch):
    """Splits, sizes, attributes and selections of an npz file, a folder and the embedded faces."""
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    images, sides = rng.integers(0, 256, (60, 16, 16, 3), np.uint8), np.array(["left", "right", ""])[labels]
    table = np.column_stack([labels.astype(str), sides])
    np.savez(tmp_path / "a.npz", images=images, labels=table, attributes=["kind", "side"])
    read, load = [], npz.load_npz
    monkeypatch.setattr(npz, "load_npz", lambda path: read.append(path) or load(path))
    for spec in (str(tmp_path / "a.npz"), f"{tmp_path / 'a.npz'}:kind=1", "embedded", "embedded:glasses=yes"):
        found, named = DataSet(spec), "kind" if "npz" in spec else "group"
        for how in ({}, {"split": "test"}, {"split": "all", "size": 16, "channels": 1}, {"attributes": [named], "split": None}):
            one, other = found.take(**how), open_data(spec, **how)
            assert (one.name, one.attributes, one.layout, one.notes) == (
                other.name,
                other.attributes,
                other.layout,
                other.notes,
            )
            np.testing.assert_array_equal(one.labels, other.labels)
            np.testing.assert_array_equal(one.image(0), other.image(0))
        assert [each.name for each in found.take_with([named], split="all").attributes][0] == named
    found, before = DataSet(tmp_path / "a.npz"), len(read)
    assert len(found.take(split="all")) == 60 and len(found.take(split="all", attributes=["side"])) == 40
    assert [each.name for each in found.take_with(["side"], split="all").attributes] == ["kind", "side"]
    assert found.take(split="all", value_names={"kind": ["a", "b", "c"]}).attributes[0].values == ("a", "b", "c")
    assert len(read) == before + 1
