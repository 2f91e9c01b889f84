"""External classifiers: ONNX files whose answers are known functions of the image, in every form that such files have."""

import json
import os
import time
from functools import partial

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from evaluate import classification
from evaluate.__main__ import main
from jaxdiff._console.classifiers import onnx_classifier, onnx_graph
from jaxdiff.errors import InputError
from jaxdiff.fairness.evaluation import LabelledImages
from tests.evaluate import onnx_files
from tests.evaluate.onnx_files import constant, node, redder_than_green, save, scores

# classifiers are trained: running takes longer than compiling
pytestmark = pytest.mark.optimized

VALUES = ("green", "red")
FLOAT, HALF, DOUBLE, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8
INT, TEXT = TensorProto.INT64, TensorProto.STRING


def loaded(path, **options):
    return onnx_classifier.load(path, **{"option": "--classifier", "values": VALUES, **options})


def coloured(red, green, size=4) -> np.ndarray:
    images = np.zeros((len(red), size, size, 3), np.uint8)
    images[..., 0], images[..., 1] = np.asarray(red)[:, None, None], np.asarray(green)[:, None, None]
    return images


def drawn(count: int, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images, and whether red is above green in the mean over the pixels, by at least one level."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (count, size, size, 3)).astype(np.uint8)
    classes = np.arange(count) % 3 % 2
    images[np.arange(count), ..., 1 - classes] += 50
    mean = images.mean(axis=(1, 2), dtype=np.float64)
    assert np.abs(mean[:, 0] - mean[:, 1]).min() > 1
    return images, (mean[:, 0] > mean[:, 1]).astype(int)


# Inputs -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "kind"),
    [
        (("N", 3, 4, 4), (2, 3), FLOAT),
        ((1, 3, 4, 4), (2, 3), FLOAT),
        ((4, 3, 4, 4), (2, 3), FLOAT),
        (("N", 4, 4, 3), (1, 2), FLOAT),
        ((3, 4, 4, 3), (1, 2), BYTE),
        (("N", 3, "H", "W"), (2, 3), FLOAT),
        ((None, None, None, 3), (1, 2), FLOAT),
        (("N", 3, 4, "W"), (2, 3), HALF),
        (("N", 3, 4, 4), (2, 3), HALF),
        (("N", 3, 4, 4), (2, 3), DOUBLE),
        (("N", 3, 4, 4), (2, 3), BYTE),
    ],
)
def test_images_are_given_as_the_file_takes_them(tmp_path, shape, axes, kind):
    """Ten images, in batches of the file with the last one padded."""
    images, classes = drawn(10)
    classifier = loaded(redder_than_green(tmp_path / "file.onnx", shape=shape, axes=axes, kind=kind))
    np.testing.assert_array_equal(classifier.predict(images), classes)
    tried = classifier.tried(images[0])
    np.testing.assert_array_equal(tried.predict(images), classes)
    assert tried.input == classifier.input


@pytest.mark.parametrize(
    ("shape", "layout", "rows"),
    [((None, 48), "nhwc", (-1, 16, 3)), (("N", 48), "nchw", (-1, 3, 16)), ((2, None), "nhwc", (-1, 16, 3))],
)
def test_flat_rows_are_images_in_the_given_layout(tmp_path, shape, layout, rows):
    images, classes = drawn(7)
    nodes = [
        node("Reshape", "x rows", "pixels"),
        node("ReduceMean", "pixels", "colour", axes=[1 if layout == "nhwc" else 2], keepdims=0),
        node("MatMul", "colour weights", "y"),
    ]  # fmt: skip
    weights = constant("weights", np.float32(onnx_files.RED_OR_GREEN))
    path = save(
        tmp_path / "file.onnx",
        nodes,
        shape=shape,
        outputs=[scores((None, 2))],
        constants=[constant("rows", np.int64(rows)), weights],
    )
    np.testing.assert_array_equal(loaded(path, layout=layout).tried(images[0]).predict(images), classes)
    if shape[1] == 48:
        with pytest.raises(InputError, match="--classifier-layout is needed.*nhwc.*nchw"):
            loaded(path)


@pytest.mark.parametrize(("shape", "axes"), [((None, 1, 4, 4), (1, 2, 3)), ((None, 4, 4, 1), (1, 2, 3)), ((None, 16), (1,))])
def test_grey_inputs_take_the_luminance(tmp_path, shape, axes):
    """Above 100 by ITU-R 601: 0.299 red + 0.587 green + 0.114 blue."""
    nodes = [node("ReduceMean", "x", "level", axes=axes, keepdims=0), node("Sub", "level bound", "flat"),
             node("Unsqueeze", "flat one", "column"), node("MatMul", "column weights", "y")]  # fmt: skip
    path = save(
        tmp_path / "grey.onnx", nodes, shape=shape, outputs=[scores((None, 2))],
        constants=[constant("bound", np.float32(100)), constant("one", np.int64([1])),
                   constant("weights", np.float32([[-1, 1]]))],
    )  # fmt: skip
    images = np.random.default_rng(1).integers(0, 256, (60, 1, 1, 3)).astype(np.uint8)
    luminance = images[:, 0, 0] @ np.array([0.299, 0.587, 0.114])
    kept = np.abs(luminance - 100) > 1
    predicted = loaded(path, mean=0.0, scale=1.0).predict(np.tile(images, (1, 4, 4, 1)))
    np.testing.assert_array_equal(predicted[kept], luminance[kept] > 100)
    levels = np.full((3, 4, 4, 1), 99, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    assert loaded(path, mean=0.0, scale=1.0).predict(levels).tolist() == [0, 0, 1]


@pytest.mark.parametrize(("scale", "divisors"), [(2.0, (2, 2)), ((2.0, 4.0, 1.0), (2, 4))])
def test_levels_are_normalised_by_channel(tmp_path, scale, divisors):
    """(red - 10) / 2 > (green - 5) / 2 or / 4, by hand."""
    rng = np.random.default_rng(0)
    red, green = rng.integers(0, 256, (2, 600))
    gap = (red - 10) / divisors[0] - (green - 5) / divisors[1]
    path = redder_than_green(tmp_path / "file.onnx")
    predicted = loaded(path, mean=(10.0, 5.0, 0.0), scale=scale).predict(coloured(red, green))
    np.testing.assert_array_equal(predicted[gap != 0], (gap > 0)[gap != 0])
    assert loaded(path, mean=(0.0,), scale=(1.0,)).predict(coloured([6, 5], [5, 6])).tolist() == [1, 0]


def test_images_of_another_size_are_resized_with_antialiasing(tmp_path):
    images, _ = drawn(6, size=9)
    resized = np.stack([np.asarray(Image.fromarray(each).resize((4, 4), Image.Resampling.BILINEAR)) for each in images])
    levels = resized.transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1
    mean = resized.mean(axis=(1, 2))
    for shape, size in ((("N", 3, 4, 4), None), (("N", 3, "H", "W"), (4, 4))):
        classifier = loaded(redder_than_green(tmp_path / "file.onnx", shape=shape), size=size)
        np.testing.assert_allclose(classifier.input.arrays(images), levels, atol=1e-6)
        np.testing.assert_array_equal(classifier.predict(images), mean[:, 0] > mean[:, 1])


@pytest.mark.parametrize(
    ("shape", "kind", "options", "words"),
    [
        (("N", 3, 4), FLOAT, {}, r"must take images \(N, 3, H, W\)"),
        (("N", 4, 8, 8), FLOAT, {}, "3 channels or 1"),
        (("N", None, None, None), FLOAT, {}, "--classifier-layout nchw or nhwc is needed"),
        (("N", 3, 8, 3), FLOAT, {}, "--classifier-layout nchw or nhwc is needed"),
        (("N", 3, 8, 8), FLOAT, {"layout": "nhwc"}, "--classifier-layout nhwc contradicts"),
        (("N", 3, 8, 8), FLOAT, {"size": (4, 8)}, "--classifier-size 4x8 contradicts"),
        (("N", 50), FLOAT, {"layout": "nhwc"}, "rows of 50 numbers, which are no images square; give --classifier-size"),
        (("N", 48), FLOAT, {"layout": "nhwc", "size": (3, 4)}, "rows of 48 numbers, which are no images of 3x4"),
        (("N", 3, 8, 8), INT, {}, r"takes tensor\(int64\); images are given as tensor\(float\)"),
        (("N", 3, 8, 8), BYTE, {"mean": (0.0,)}, "uint8, levels 0 to 255.*leave out --classifier-mean"),
        (
            ("N", 3, 8, 8),
            FLOAT,
            {"mean": (1.0, 2.0)},
            "--classifier-mean takes one number or one for each of 3 channels, got 2",
        ),
        (
            ("N", 1, 8, 8),
            FLOAT,
            {"scale": (1.0, 2.0, 3.0)},
            "--classifier-scale takes one number or one for each of 1 channels",
        ),
    ],
)
def test_inputs_that_are_no_images_are_errors(tmp_path, shape, kind, options, words):
    path = save(
        tmp_path / "file.onnx", [node("Identity", "x", "y")], shape=shape, kind=kind, outputs=[scores(shape, kind=kind)]
    )
    with pytest.raises(InputError, match=words):
        loaded(path, **options)


# Outputs ----------------------------------------------------------------------------------------------------------------------

RED = ((1.0,), (-1.0,), (0.0,))
"""One score: red minus green."""
LABEL = [node("ArgMax", "y", "label", axis=1, keepdims=0)]


def names(*labels: str):
    """From the integer `label` to the text `name`."""
    return node("LabelEncoder", "label", "name", domain="ai.onnx.ml", keys_int64s=[0, 1], values_strings=list(labels))


def zipped(**labels):
    return node("ZipMap", "y", "table", domain="ai.onnx.ml", **labels)


def table_of(kind):
    return helper.make_value_info(
        "table", helper.make_sequence_type_proto(helper.make_map_type_proto(kind, helper.make_tensor_type_proto(FLOAT, None)))
    )


FORMS = {
    "softmax": {"behind": [node("Softmax", "y", "p", axis=1)], "outputs": [scores((None, 2), "p")]},
    "half": {"behind": [node("Cast", "y", "p", to=HALF)], "outputs": [scores((None, 2), "p", HALF)]},
    "sigmoid": {"weights": RED, "behind": [node("Sigmoid", "y", "p")], "outputs": [scores((None, 1), "p")]},
    "sigmoid of rank 1": {
        "weights": RED, "behind": [node("Sigmoid", "y", "p"), node("Squeeze", "p axis", "q")],
        "outputs": [scores((None,), "q")], "constants": [constant("axis", np.int64([1]))],
    },
    "logit": {"weights": RED, "behind": [node("Identity", "y", "z")], "outputs": [scores((None, 1), "z")]},
    "logit with a bias": {
        "weights": RED, "behind": [node("Add", "zero y", "z")], "outputs": [scores((None, 1), "z")],
        "constants": [constant("zero", np.float32([0]))],
    },
    "axes of pixels": {
        "behind": [node("Unsqueeze", "y axes", "map")], "outputs": [scores((None, 2, 1, 1), "map")],
        "constants": [constant("axes", np.int64([2, 3]))],
    },
    "label alone": {"behind": LABEL, "outputs": [scores((None,), "label", INT)]},
    "label and probabilities": {"behind": LABEL, "outputs": [scores((None,), "label", INT), scores((None, 2))]},
    "labels counted from 1 and probabilities": {
        "behind": [*LABEL, node("Add", "label one", "next")], "outputs": [scores((None,), "next", INT), scores((None, 2))],
        "constants": [constant("one", np.int64([1]))],
    },
    "name alone": {"behind": [*LABEL, names("green", "red")], "outputs": [scores((None,), "name", TEXT)]},
    "a dictionary of labels": {"behind": [*LABEL, zipped(classlabels_int64s=[0, 1])],
                               "outputs": [scores((None,), "label", INT), table_of(INT)]},
    "a dictionary of names": {"behind": [*LABEL, names("green", "red"), zipped(classlabels_strings=["green", "red"])],
                              "outputs": [scores((None,), "name", TEXT), table_of(TEXT)]},
    "a dictionary of names alone": {"behind": [zipped(classlabels_strings=["green", "red"])], "outputs": [table_of(TEXT)]},
    "scores and features": {"behind": [node("Identity", "colour", "features")],
                            "outputs": [scores((None, 3), "features"), scores((None, 2))]},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_answers_of_every_form_are_read(tmp_path, form):
    images, classes = drawn(9)
    classifier = loaded(redder_than_green(tmp_path / "file.onnx", **FORMS[form])).tried(images[0])
    np.testing.assert_array_equal(classifier.predict(images), classes)


@pytest.mark.parametrize("form", ["a dictionary of names", "a dictionary of names alone", "name alone"])
def test_names_in_the_file_are_matched_by_name(tmp_path, form):
    """In whatever order the values are given; names that differ are an error unless the classes are named."""
    images, classes = drawn(9)
    path = redder_than_green(tmp_path / "file.onnx", **FORMS[form])
    np.testing.assert_array_equal(loaded(path, values=("red", "green")).predict(images), 1 - classes)
    with pytest.raises(InputError, match=r"green.*red, not|answers green.*not among leaf, rose"):
        loaded(path, values=("leaf", "rose"), renamed=False).predict(images)
    if form != "name alone":
        np.testing.assert_array_equal(loaded(path, values=("leaf", "rose")).predict(images), classes)


def test_one_of_several_answers_is_chosen_by_name(tmp_path):
    images, classes = drawn(5)
    path = redder_than_green(
        tmp_path / "file.onnx", behind=[node("Neg", "y", "z")], outputs=[scores((None, 2)), scores((None, 2), "z")]
    )
    with pytest.raises(InputError, match="2 outputs.*--classifier-output, one of y, z"):
        loaded(path).predict(images)
    np.testing.assert_array_equal(loaded(path, output="z").predict(images), 1 - classes)
    with pytest.raises(InputError, match="--classifier-output w is no output of .*it has y, z"):
        loaded(path, output="w")


def test_an_export_of_one_image_may_lack_the_axis_of_images(tmp_path):
    images, classes = drawn(5)
    squeezed = {"behind": [node("Squeeze", "y first", "z")], "constants": [constant("first", np.int64([0]))]}
    path = redder_than_green(tmp_path / "file.onnx", shape=(1, 3, 4, 4), outputs=[scores((2,), "z")], **squeezed)
    np.testing.assert_array_equal(loaded(path).tried(images[0]).predict(images), classes)


def test_a_single_score_that_does_not_tell_needs_a_threshold(tmp_path):
    """exp(red - green) is above 1 where red is above green."""
    images, classes = drawn(5)
    path = redder_than_green(
        tmp_path / "file.onnx", weights=RED, behind=[node("Exp", "y", "z")], outputs=[scores((None, 1), "z")]
    )
    with pytest.raises(InputError, match="--classifier-threshold is needed"):
        loaded(path).predict(images)
    np.testing.assert_array_equal(loaded(path, threshold=1.0).predict(images), classes)
    assert loaded(path, threshold=1e9).predict(images).tolist() == [0] * 5


@pytest.mark.parametrize(
    ("options", "values", "words"),
    [
        ({}, ("a", "b", "c"), r"must name the classes of .*file.onnx.* y \[3, 2\]; got a b c"),
        (FORMS["a dictionary of labels"], ("a", "b", "c"), "must name the 2 classes of .*file.onnx, 0, 1; got a b c"),
        (
            FORMS["label alone"] | {"weights": [[0, 0, 1], [0] * 3, [0] * 3]},
            VALUES,
            "label 2.*names 2, counted from 0: green red",
        ),
        ({"behind": [node("Log", "y", "z")], "outputs": [scores((None, 2), "z")]}, VALUES, "file.onnx answers NaN or infinity"),
        (FORMS["a dictionary of labels"] | {"weights": [[np.inf, 0]] * 3}, VALUES, "file.onnx answers NaN or infinity"),
    ],
)
def test_answers_that_are_no_classes_are_errors(tmp_path, options, values, words):
    classifier = loaded(redder_than_green(tmp_path / "file.onnx", **options), values=values)
    with pytest.raises(InputError, match=words):
        classifier.predict(coloured([200, 200, 0], [100, 90, 0]))


# The file ---------------------------------------------------------------------------------------------------------------------


def test_weights_in_a_file_beside_it_are_loaded_and_part_of_the_checksum(tmp_path):
    images, classes = drawn(5)
    digests = set()
    for factor in (1, 2):
        # onnx appends to a file that there is, and the graph then names another place in it
        (tmp_path / "file.onnx.data").unlink(missing_ok=True)
        weights = factor * np.float32(onnx_files.RED_OR_GREEN)
        path = redder_than_green(tmp_path / "file.onnx", weights=weights, external=True)
        np.testing.assert_array_equal(loaded(path).predict(images), classes)
        digests.add(loaded(path).about["sha256"])
    assert len(digests) == 2 and onnx_graph.read(path).external == ("file.onnx.data",)
    (tmp_path / "file.onnx.data").unlink()
    with pytest.raises(InputError, match="file.onnx cannot be read as ONNX.*file.onnx.data"):
        loaded(path)


def test_a_file_that_takes_any_number_and_answers_one_is_asked_one_by_one(tmp_path):
    """Its axis of images is dynamic, and a Reshape within it is of a single image."""
    images, classes = drawn(6)
    fixed = {"behind": [node("Reshape", "y single", "z")], "constants": [constant("single", np.int64([1, 2]))]}
    classifier = loaded(redder_than_green(tmp_path / "file.onnx", outputs=[scores((None, 2), "z")], **fixed))
    with pytest.raises(InputError, match="file.onnx fails at images of 4x4"):
        classifier.predict(images)
    np.testing.assert_array_equal(classifier.tried(images[0]).predict(images), classes)


@pytest.mark.parametrize("shape", [("N", 3, 4, 4), (4, 3, 4, 4)])
@pytest.mark.parametrize(
    "behind",
    [
        [node("ReduceMean", "y", "centre", axes=[0], keepdims=1), node("Sub", "y centre", "z")],
        [node("RandomUniformLike", "y", "noise", low=0.0, high=5.0), node("Add", "y noise", "z")],
    ],
    ids=["batch norm", "dropout"],
)
def test_a_file_exported_in_training_mode_is_an_error(tmp_path, shape, behind):
    path = redder_than_green(tmp_path / "file.onnx", shape=shape, behind=behind, outputs=[scores((None, 2), "z")])
    with pytest.raises(InputError, match="file.onnx answers one image differently.*training mode"):
        loaded(path).tried(coloured([200], [40])[0])


def test_files_that_are_no_classifier_are_errors(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    pair = helper.make_graph(
        [node("Add", "x z", "y")], "pair", [scores(("N", 3, 4, 4), each) for each in "xz"], [scores(("N", 3, 4, 4))]
    )
    model = helper.make_model(pair, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "pair.onnx").write_bytes(model.SerializeToString())
    for name, words in (
        ("nowhere", "nowhere.onnx does not exist"), ("broken", "broken.onnx cannot be read as ONNX"),
        ("empty", "empty.onnx cannot be read as ONNX"), ("pair", "must take one input.*pair.onnx takes x, z"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            loaded(tmp_path / f"{name}.onnx")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("zipmap", [True, False, "columns"])
@pytest.mark.parametrize("labels", [(0, 1), (1, 2), ("red", "green")])
def test_exports_of_scikit_learn_answer_as_scikit_learn(tmp_path, zipmap, labels):
    """A logistic regression of flat images; its classes are sorted, so that green comes first where they are names."""
    linear_model, skl2onnx = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("skl2onnx")
    images, classes = drawn(60)
    shown = np.array(labels)[1 - classes if labels == ("red", "green") else classes]
    rows = (images.reshape(60, -1) / 127.5 - 1).astype(np.float32)
    model = linear_model.LogisticRegression().fit(rows, shown)
    path = tmp_path / "model.onnx"
    path.write_bytes(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": zipmap}).SerializeToString())
    predicted = loaded(path, layout="nhwc").tried(images[0]).predict(images)
    theirs = model.predict(rows)
    expected = [VALUES.index(each) for each in theirs] if labels == ("red", "green") else theirs - labels[0]
    np.testing.assert_array_equal(predicted, expected)
    assert 0 < np.mean(predicted) < 1


# The report -------------------------------------------------------------------------------------------------------------------


def test_label_accuracy_overall_and_by_value(tmp_path):
    classifier = loaded(redder_than_green(tmp_path / "file.onnx"))
    red, labels = np.array([200, 200, 200, 0, 0, 200]), np.array([1, 1, 1, 1, 0, 0])
    predicted = classifier.predict(coloured(red, np.full(6, 100)))
    found = classification.label_accuracy(classifier, predicted, labels, VALUES)["external_label_accuracy"]
    assert (found["overall"], found["groups"], found["count"]) == (pytest.approx(4 / 6), [0.5, 0.75], 6)
    assert found["ber"] == pytest.approx(100 * (0.5 + 0.25) / 2)
    assert found["interval"][0] < 4 / 6 < found["interval"][1]
    # labels are positions in the evaluated values, in any order of the classifier's classes
    found = classification.label_accuracy(classifier, predicted, 1 - labels, VALUES[::-1])["external_label_accuracy"]
    assert found["groups"] == [0.75, 0.5]
    with pytest.raises(InputError, match="--classifier-values lacks grey, which is evaluated; got green red"):
        classification.require_values(classifier, ("green", "grey"))


@pytest.fixture
def program(call_program, tmp_path):
    """Evaluates a set whose every third label is wrong against real images whose labels are right."""
    rng = np.random.default_rng(1)

    def write(name, count, wrong):
        labels = np.arange(count) % 2
        shown = np.where(wrong(np.arange(count)), 1 - labels, labels)
        images = coloured(np.where(shown == 1, 180, 60), np.full(count, 120), size=16)
        images[..., 2] = rng.integers(0, 255, images.shape[:-1])
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)

    write("real", 300, lambda index: index < 0)
    write("made", 60, lambda index: index % 3 == 0)
    quick = ["--steps", 2, "--seeds", 1, "--replicates", 5, "--permutations", 5]
    given = ["fairness", "--synthetic", "made.npz", "--real", "real.npz", "--attribute", "label", "--out", "report", *quick]
    return partial(call_program, main, "evaluate", *given, "--value-names", "label=green,red")


def test_report_has_the_label_accuracy_of_an_external_classifier(program, tmp_path, capsys):
    redder_than_green(tmp_path / "file.onnx", shape=(1, 3, 4, 4))
    given = ["--no-quality", "--classifier", "file.onnx", "--classifier-mean", 10, 5, 0, "--classifier-scale", 2]
    assert program(*given) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "file.onnx: RGB 4x4, NCHW, float32, (level - 10 5 0) / 2, 1 at once; classes green, red" in out
    assert "Note:" not in out
    text = (tmp_path / "report" / "report.md").read_text()
    section = text.split("## external attribute classifier")[1].split("##")[0]
    rows = {line.split("|")[1].strip(): line for line in section.splitlines() if line.startswith("|")}
    assert "1.000" in rows["Real"] and "0.667" in rows["made.npz"]
    assert "missing" not in json.loads((tmp_path / "report" / "report.json").read_text())
    for option, value in (("scale", 2), ("layout", "nchw"), ("threshold", 0)):
        assert program("--no-quality", f"--classifier-{option}", value) == 2
        assert f"--classifier-{option} needs --classifier" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("values", "noted"), [(VALUES, False), (VALUES[::-1], True)])
def test_classes_in_another_order_are_noticed_on_the_real_images(tmp_path, capsys, values, noted):
    images, classes = drawn(30)
    classifier = loaded(redder_than_green(tmp_path / "file.onnx"), values=values)
    (found,) = classification.measured(classifier, [LabelledImages("Real", images, classes)], VALUES, {})
    assert found["external_label_accuracy"]["overall"] == (0.0 if noted else 1.0)
    out = " ".join(capsys.readouterr().out.split())
    assert ("Note: file.onnx predicts the label of 0 % of the real images, less than by chance" in out) == noted


def test_a_fault_of_the_classifier_on_any_image_comes_before_the_training(program, tmp_path, capsys, monkeypatch):
    """The logarithm of red minus 100 is no number for images of level 60."""
    behind = [node("Sub", "y bound", "z"), node("Log", "z", "w")]
    redder_than_green(
        tmp_path / "file.onnx", kind=BYTE, behind=behind, outputs=[scores((None, 2), "w")],
        constants=[constant("bound", np.float32([0, 100]))],
    )  # fmt: skip
    monkeypatch.setattr("evaluate.fairness.evaluate_fairness", lambda *_, **__: pytest.fail("trained"))
    assert program("--no-quality", "--classifier", "file.onnx") == 2
    assert "--classifier file.onnx answers NaN or infinity" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "report").exists()


def test_what_is_measured_before_a_fault_is_written(program, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise InputError("no disk is left")

    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.png").write_bytes(b"of another report")
    monkeypatch.setattr("evaluate.fairness.findings.collect", fail)
    assert program() == 2 and "no disk is left" in capsys.readouterr().err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["missing"] == ["quality and findings"] and "real->synthetic" in report["synthetic"][0]["directions"]
    assert "**Not measured yet, or ended before: quality and findings.**" in (tmp_path / "report" / "report.md").read_text()
    assert not (tmp_path / "report" / "report.png").exists()


def test_a_graph_that_leads_back_to_itself_or_deep_has_no_operation():
    circle = {"a": ("Identity", ("b",)), "b": ("Add", ("a", "c")), "c": ("Identity", ("a",))}
    assert onnx_graph.OnnxGraph(circle, ()).operation("a") == "Add"
    assert onnx_graph.OnnxGraph({"a": ("Identity", ("a",))}, ()).operation("a") == ""
    assert onnx_graph.OnnxGraph({"a": ("Identity", ())}, ()).operation("a") == "Identity"
    doubled = {f"{i}": ("Add", (f"{i + 1}", f"{i + 1}")) for i in range(100)}
    assert onnx_graph.OnnxGraph(doubled | {"100": ("MatMul", ())}, ()).operation("0") == "MatMul"
    chain = {f"{i}": ("Identity", (f"{i + 1}",)) for i in range(5000)}
    assert onnx_graph.OnnxGraph(chain | {"5000": ("Sigmoid", ())}, ()).operation("0") == "Sigmoid"


def test_a_number_of_more_than_ten_bytes_is_no_protobuf(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"\x80" * 10**5 + b"\x01")
    start = time.process_time()
    assert onnx_graph.read(tmp_path / "a.onnx") == onnx_graph.OnnxGraph({}, ())
    assert time.process_time() - start < 0.5


def test_weights_outside_the_folder_and_special_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="has weights in ../other, which is outside its folder"):
        onnx_classifier._beside(tmp_path / "a.onnx", "../other", "--classifier")
    os.mkfifo(tmp_path / "weights")
    with pytest.raises(InputError, match="weights is no regular file"):
        onnx_classifier._beside(tmp_path / "a.onnx", "weights", "--classifier")
    os.mkfifo(tmp_path / "b.onnx")
    with pytest.raises(InputError, match="b.onnx is no regular file"):
        onnx_classifier.load(tmp_path / "b.onnx", option="--classifier", values=("a", "b"))
