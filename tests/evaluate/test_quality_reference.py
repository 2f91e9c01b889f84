"""`evaluate fairness --reference`: quality against files of other programs."""

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from evaluate import quality_reference
from evaluate.__main__ import main
from evaluate.options.fairness import Fairness
from jaxdiff.errors import InputError
from jaxdiff.quality import ImageFeatures, Moments, frechet_distance, load_reference
from jaxdiff.quality.measure import measure_quality

pytestmark = pytest.mark.usefixtures("small_classifiers")


@dataclass(frozen=True)
class Network:
    """In place of Inception: the mean and the spread of each channel."""

    resize: str = "tensorflow"
    name: str = field(default="inception-2015-12-05")
    dimension: int = 6

    def describe(self):
        return {"name": self.name, "dimension": 6, "checksum": "weights", "resize": self.resize}

    def __call__(self, images):
        return np.concatenate([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1).astype(np.float32)


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(quality_reference.inception, "load", lambda path: Network())


def pictures(count: int, seed: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def statistics(images):
    features = Network()(images).astype(np.float64)
    return {"mu": features.mean(axis=0), "sigma": np.cov(features, rowvar=False)}


def opened(**options):
    return quality_reference.opened(Fairness(attribute="label", out=Path("report"), synthetic=("made.npz",), **options))


def test_statistics_need_their_network_and_their_resize(tmp_path):
    np.savez(tmp_path / "stats.npz", **statistics(pictures(40, 0)))
    np.savez(tmp_path / "guided.npz", **statistics(pictures(40, 0)), mu_s=np.zeros(2), sigma_s=np.eye(2))
    np.savez(tmp_path / "wide.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    np.savez(tmp_path / "images.npz", arr_0=pictures(12, 0))
    given, weights = tmp_path / "stats.npz", Path("weights.pth")
    for options, words in (
        ({"reference": given}, "statistics of 6 features.*give the network's weights with --inception"),
        ({"reference": given, "inception": weights}, "--inception-resize is needed.*pytorch-fid or clean-fid"),
        ({"reference": tmp_path / "wide.npz", "inception": weights}, "2048 features, which are of another network than the 6"),
        (
            {"reference": tmp_path / "guided.npz", "inception": weights, "inception_resize": "clean-fid"},
            "--inception-resize clean-fid contradicts.*TensorFlow",
        ),
        ({"inception_resize": "clean-fid"}, "--inception-resize needs --inception"),
        ({"reference": given, "quality": False}, "cannot be combined with --self-check or --no-quality"),
    ):
        with pytest.raises(InputError, match=words):
            opened(**options)
    for resize in ("pytorch-fid", "clean-fid", "tensorflow"):
        found, reference = opened(reference=given, inception=weights, inception_resize=resize)
        assert found.resize == resize and reference.path == given
    assert opened(reference=tmp_path / "guided.npz", inception=weights)[0].resize == "tensorflow"
    assert opened(reference=tmp_path / "images.npz")[0] is None
    assert opened() == (None, None)


def test_images_of_the_reference_must_be_of_the_size_of_the_sets(tmp_path):
    np.savez(tmp_path / "images.npz", arr_0=pictures(12, 0, size=8))
    reference = load_reference(tmp_path / "images.npz")
    with pytest.raises(
        InputError, match="images.npz holds images of 8x8 with 3 channels, the sets are of 16x16 with 3.*--size 8x8"
    ):
        quality_reference.require_size(reference, Network(), pictures(2, 1))
    grey = pictures(2, 1, size=8)[..., :1]
    quality_reference.require_size(reference, Network(), grey)
    with pytest.raises(InputError, match="8x8 with 3 channels, the sets are of 8x8 with 1"):
        quality_reference.require_size(reference, None, grey)


def test_what_a_file_does_not_allow_is_absent_and_the_rest_is_measured(tmp_path):
    known, drawn = pictures(50, 0), pictures(40, 1)
    made = [ImageFeatures(drawn, Network()(drawn).astype(np.float64), np.zeros(40, int))]
    expected = measure_quality(Network()(known).astype(np.float64), made[0].features, extractor={}).whole
    other = statistics(pictures(60, 2))
    for name, arrays in (("images", {"arr_0": known}), ("both", {"arr_0": known, **other}), ("statistics", other)):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        reference = load_reference(tmp_path / f"{name}.npz")
        (found,) = quality_reference.compared(reference, made, Network(), most=100, seed=0)
        if name == "statistics":
            assert all(found[key] is None for key in ("kernel", "precision", "recall", "density", "coverage"))
            assert "mean and covariance alone" in found["about"]["absent"] and found["count"] == [0, 40]
        else:
            assert found["kernel"] == pytest.approx(expected.kernel.full.value)
            assert found["coverage"] == pytest.approx(expected.coverage.value) and found["count"] == [50, 40]
            assert "absent" not in found["about"]
        far = Moments.from_features(Network()(known if name == "images" else pictures(60, 2)).astype(np.float64))
        assert found["frechet"] == pytest.approx(frechet_distance(far, Moments.from_features(made[0].features)), rel=1e-9)
        assert found["intervals"]["frechet"][0] < found["frechet"] < found["intervals"]["frechet"][1]
    (found,) = quality_reference.compared(load_reference(tmp_path / "images.npz"), made, Network(), most=20, seed=0)
    assert found["count"] == [20, 40]


def test_the_report_states_the_file_the_network_and_the_resize(call_program, tmp_path, capsys):
    labels = np.arange(60) % 2
    for seed, name in enumerate(("real", "made")):
        images = np.where(labels, 60, 0)[:, None, None, None] + pictures(60, seed, size=16) // 2
        split = ["train", "train", "test", "test"] * 15
        np.savez(tmp_path / f"{name}.npz", images=images.astype(np.uint8), labels=labels, split=split)
    np.savez(tmp_path / "stats.npz", **statistics(pictures(80, 5)))
    evaluate = partial(
        call_program, main, "evaluate", "fairness", "--synthetic", "made.npz", "--real", "real.npz", "--attribute", "label",
        "--out", "report", "--steps", 2, "--seeds", 1, "--replicates", 5, "--permutations", 5, "--inception", "weights.pth",
        "--reference", "stats.npz",
    )  # fmt: skip
    assert evaluate() == 2
    assert "--inception-resize is needed" in " ".join(capsys.readouterr().err.split())
    assert evaluate("--inception-resize", "pytorch-fid") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Quality: features of inception-2015-12-05 (weights weights); resize: pytorch-fid." in out
    assert "quality against stats.npz" in out and "are absent: the file holds mean and covariance alone" in out
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["real"]["reference"]["about"]["extractor"]["resize"] == "pytorch-fid"
    # the sets have equally many images of each group, of which the report takes as many as the smallest has
    found = report["synthetic"][0]["reference"]
    assert found["count"] == [0, 30] and found["kernel"] is None and found["frechet"] > 0
    assert "quality against stats.npz" in (tmp_path / "report" / "report.md").read_text()
