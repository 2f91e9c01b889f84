"""External classifiers: a hand-written ONNX network with known predictions."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from evaluate import external_classifier
from evaluate.__main__ import main
from jaxdiff.errors import InputError
from jaxdiff.fairness.evaluation import LabelledImages

# classifiers are trained: running takes longer than compiling
pytestmark = pytest.mark.optimized

VALUES = ("dark", "bright")


def field(number: int, value: int | bytes | str) -> bytes:
    """A field of a protobuf message: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(8 * number) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(8 * number + 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    low = value & 127
    return bytes([low]) if value < 128 else bytes([low | 128]) + varint(value >> 7)


def array(name: str, shape: tuple[int | str, ...]) -> bytes:
    sizes = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sizes)))


def node(operation: str, *inputs: str, output: str) -> bytes:
    return b"".join(field(1, each) for each in inputs) + field(2, output) + field(4, operation)


def network(weights, size=4) -> bytes:
    """ONNX of scores = mean over space of the image (N, 3, size, size), times weights (3, K)."""
    weights = np.asarray(weights, np.float32)
    table = b"".join(field(1, length) for length in weights.shape) + field(2, 1) + field(8, "w") + field(9, weights.tobytes())
    nodes = [
        node("GlobalAveragePool", "x", output="p"), node("Flatten", "p", output="f"), node("MatMul", "f", "w", output="y"),
    ]  # fmt: skip
    graph = b"".join(field(1, each) for each in nodes) + field(2, "g") + field(5, table)
    graph += field(11, array("x", ("N", 3, size, size))) + field(12, array("y", ("N", weights.shape[1])))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17))


@pytest.fixture
def bright(tmp_path) -> Path:
    """A classifier that predicts bright where red is above green + 5 after scaling: scores (green, red)."""
    path = tmp_path / "bright.onnx"
    path.write_bytes(network([[0, 1], [1, 0], [0, 0]]))
    return path


def loaded(path, **options):
    return external_classifier.load(path, **{"values": VALUES, "mean": (10.0, 5.0, 0.0), "scale": 2.0, **options})


def coloured(red, green, size=4) -> np.ndarray:
    images = np.zeros((len(red), size, size, 3), np.uint8)
    images[..., 0], images[..., 1] = np.asarray(red)[:, None, None], np.asarray(green)[:, None, None]
    return images


def test_input_is_normalised_and_channels_come_first(bright):
    """(red - 10) / 2 > (green - 5) / 2, by hand."""
    rng = np.random.default_rng(0)
    red, green = rng.integers(0, 256, (2, 600))
    kept = red - 10 != green - 5
    predicted = loaded(bright).predict(coloured(red[kept], green[kept]))
    np.testing.assert_array_equal(predicted, (red - 10 > green - 5)[kept])
    swapped = loaded(bright, mean=(5.0, 10.0, 0.0)).predict(coloured([20], [14]))
    assert swapped.tolist() == [1] and loaded(bright).predict(coloured([20], [16])).tolist() == [0]


def test_images_of_another_size_are_resized(bright):
    assert loaded(bright).predict(coloured([100, 5], [20, 100], size=16)).tolist() == [1, 0]


def test_label_accuracy_overall_and_by_value(bright):
    red, green = np.array([200, 200, 200, 0, 0, 200]), np.full(6, 100)
    images = LabelledImages("set", coloured(red, green), np.array([1, 1, 1, 1, 0, 0]))
    found = external_classifier.label_accuracy(loaded(bright), images, VALUES)["external_label_accuracy"]
    assert (found["overall"], found["groups"], found["count"]) == (pytest.approx(4 / 6), [0.5, 0.75], 6)
    assert found["ber"] == pytest.approx(100 * (0.5 + 0.25) / 2)
    assert found["interval"][0] < 4 / 6 < found["interval"][1]
    # labels are positions in the evaluated values, in any order of the classifier's classes
    reversed_labels = LabelledImages("set", images.images, 1 - images.labels)
    found = external_classifier.label_accuracy(loaded(bright), reversed_labels, VALUES[::-1])["external_label_accuracy"]
    assert found["groups"] == [0.75, 0.5]


def test_invalid_classifiers_are_errors(bright, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    for path, options, words in (
        (tmp_path / "nowhere.onnx", {}, "nowhere.onnx does not exist"),
        (tmp_path / "broken.onnx", {}, "broken.onnx cannot be read as ONNX"),
        (bright, {"values": ("a", "b", "c")}, "must name the classes"),
    ):
        with pytest.raises(InputError, match=words):
            loaded(path, **options)
    images = LabelledImages("set", coloured([1], [2]), np.array([0]))
    with pytest.raises(InputError, match="--classifier-values lacks grey, which is evaluated; got dark bright"):
        external_classifier.label_accuracy(loaded(bright), images, ("dark", "grey"))


@pytest.fixture
def program(call_program):
    return partial(call_program, main, "evaluate")


def test_report_has_the_label_accuracy_of_an_external_classifier(program, bright, tmp_path, capsys):
    """Every label of the real images is right; every third label of the synthetic set is wrong."""
    rng = np.random.default_rng(1)

    def save(name, count, wrong):
        labels = np.arange(count) % 2
        shown = np.where(wrong(np.arange(count)), 1 - labels, labels)
        images = coloured(np.where(shown == 1, 180, 60), np.full(count, 120), size=16)
        images[..., 2] = rng.integers(0, 255, images.shape[:-1])
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)

    save("real", 300, lambda index: index < 0)
    save("made", 60, lambda index: index % 3 == 0)
    quick = ["--steps", 2, "--seeds", 1, "--replicates", 5, "--permutations", 5, "--no-quality"]
    given = ["fairness", "--synthetic", "made.npz", "--real", "real.npz", "--attribute", "label", "--out", "report", *quick]
    classifier = ["--classifier", bright, "--classifier-mean", 10, 5, 0, "--classifier-scale", 2]
    assert program(*given, "--value-names", "label=dark,bright", *classifier) == 0
    assert "bright.onnx" in capsys.readouterr().out
    text = (tmp_path / "report" / "report.md").read_text()
    section = text.split("## external attribute classifier")[1].split("##")[0]
    rows = {line.split("|")[1].strip(): line for line in section.splitlines() if line.startswith("|")}
    assert "1.000" in rows["Real"] and "0.667" in rows["made.npz"]
    assert program(*given, "--classifier-scale", 2) == 2
    assert "need --classifier" in " ".join(capsys.readouterr().err.split())
