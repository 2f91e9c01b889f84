"""References of other programs: what their files hold, the Fréchet distance from them, and what is refused."""

import numpy as np
import pytest

from jaxdiff import InputError
from jaxdiff.quality import Moments, Normal, frechet_distance, frechet_estimate_to, load_reference
from jaxdiff.quality.moments import frechet_estimate


def statistics(features):
    """As pytorch-fid, clean-fid and guided-diffusion compute them."""
    return {"mu": features.mean(axis=0), "sigma": np.cov(features, rowvar=False)}


@pytest.mark.parametrize(("count", "others"), [(40, 25), (5, 40), (40, 5)])
def test_the_distance_from_statistics_is_that_from_their_features(tmp_path, rng, count, others):
    real, made = rng.normal(size=(count, 8)), rng.normal(0.3, 1.4, size=(others, 8))
    np.savez(tmp_path / "stats.npz", **statistics(real))
    reference = load_reference(tmp_path / "stats.npz")
    assert reference.images is None and not reference.of_guided_diffusion
    expected = frechet_distance(Moments.from_features(real), Moments.from_features(made))
    # of a singular covariance the zero eigenvalues are 1e-16 in the file, and their roots 1e-8
    assert reference.frechet(made).value == pytest.approx(expected, rel=1e-9 if count > 8 else 1e-7)
    assert reference.describe()["statistics"] and reference.describe()["file"] == "stats.npz"


def test_the_error_is_that_of_the_synthetic_images_alone(rng):
    """Against statistics of many images the error of both sets is that of the second; and it is the deviation over draws."""
    normal = Normal(np.zeros(3), np.eye(3))
    draws = [frechet_estimate_to(normal, rng.normal(0.8, 1, size=(400, 3))) for _ in range(200)]
    deviation = np.std([draw.value for draw in draws], ddof=1)
    assert np.mean([draw.error for draw in draws]) == pytest.approx(deviation, rel=0.15)
    assert 0.9 <= np.mean([draw.low < 3 * 0.8**2 + 3 / 400 < draw.high for draw in draws]) <= 1
    many, made = rng.normal(size=(200_000, 3)), rng.normal(0.8, 1, size=(400, 3))
    fixed = frechet_estimate_to(Normal(many.mean(axis=0), np.cov(many.T)), made)
    both = frechet_estimate(many, made)
    assert fixed.value == pytest.approx(both.value, rel=1e-9) and fixed.error == pytest.approx(both.error, rel=0.01)


def test_a_diagonal_normal_distribution_has_the_closed_form(rng):
    """|m1 - m2|² + sum (s1 - s2)², where the sample moments are made exact."""
    features = rng.normal(size=(50, 4))
    features -= features.mean(axis=0)
    scales, target = np.array([0.5, 1, 2, 3]), np.array([1, 1, 0.1, 4])
    exact = features @ np.linalg.inv(np.linalg.cholesky(np.cov(features.T))).T * scales + [1, 0, 0, 2]
    found = frechet_estimate_to(Normal(np.zeros(4), np.diag(target**2)), exact)
    assert found.value == pytest.approx(5 + np.square(scales - target).sum(), rel=1e-9)


def test_reference_batches_of_guided_diffusion_have_images_statistics_or_both(tmp_path, rng):
    images, features = rng.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8), rng.normal(size=(30, 5))
    spatial = {f"{name}_s": value for name, value in statistics(features[:, :2]).items()}
    for name, arrays in (
        ("samples", {"arr_0": images, "arr_1": np.arange(6)}),
        ("batch", {"arr_0": images, **statistics(features), **spatial}),
        ("statistics", {**statistics(features), **spatial}),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        reference = load_reference(tmp_path / f"{name}.npz")
        assert reference.of_guided_diffusion
        assert (reference.images is not None, reference.normal is not None) == ("arr_0" in arrays, "mu" in arrays)
        if reference.images is not None:
            np.testing.assert_array_equal(reference.images, images)
        if reference.normal is not None:
            np.testing.assert_array_equal(reference.normal.mean, features.mean(axis=0))
    with pytest.raises(InputError, match="samples.npz holds no statistics"):
        load_reference(tmp_path / "samples.npz").frechet(features)


WIDE, SKEW = np.eye(3) - 2 * np.diag([0, 1, 0]), np.eye(3) + np.eye(3, k=1)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(3)}, "must have the arrays `mu` and `sigma`, or the images `arr_0`; it has mu"),
        ({"feats": np.zeros((3, 2))}, "it has feats"),
        ({}, "it has none"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"of shape \(D,\) and \(D, D\), got \(3,\) and \(4, 4\)"),
        ({"mu": np.zeros((1, 3)), "sigma": np.eye(3)}, r"got \(1, 3\) and \(3, 3\)"),
        ({"mu": np.zeros(3), "sigma": np.zeros(3)}, r"got \(3,\) and \(3,\)"),
        ({"mu": np.zeros(3), "sigma": np.eye(3, dtype=int)}, "floating point, got float64 and int"),
        ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, "must be finite"),
        ({"mu": np.zeros(3), "sigma": np.diag([1, np.inf, 1])}, "must be finite"),
        ({"mu": np.zeros(3), "sigma": WIDE}, "`sigma` .* must be a covariance"),
        ({"mu": np.zeros(3), "sigma": SKEW}, "`sigma` .* must be a covariance"),
        ({"arr_0": np.zeros((2, 8, 8, 3))}, r"`arr_0` .* must be uint8 images .* got float64"),
        ({"arr_0": np.zeros((2, 8, 8), np.uint8)}, r"got uint8 \(2, 8, 8\)"),
        ({"mu": np.array([{}], object), "sigma": np.eye(1)}, "holds objects, which"),
    ],
)
def test_files_that_are_no_reference_are_errors(tmp_path, arrays, words):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(InputError, match=f"(?s){words}") as refused:
        load_reference(tmp_path / "file.npz")
    assert "file.npz" in str(refused.value)


def test_damaged_files_and_statistics_of_another_network_are_errors(tmp_path, rng):
    with pytest.raises(InputError, match=r"nowhere.npz does not exist"):
        load_reference(tmp_path / "nowhere.npz")
    np.savez(tmp_path / "whole.npz", **statistics(rng.normal(size=(30, 20))))
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:1500])
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("half.npz", "one.npy"):
        with pytest.raises(InputError, match=f"{name} (is damaged|must be an npz file)"):
            load_reference(tmp_path / name)
    with pytest.raises(
        InputError, match="whole.npz holds statistics of 20 features.*another network than the 2048 features of i"
    ):
        load_reference(tmp_path / "whole.npz").require(2048, "inception-2015-12-05")
    with pytest.raises(InputError, match=r"`synthetic`.*length 20, got shape \(4, 3\)"):
        load_reference(tmp_path / "whole.npz").frechet(np.zeros((4, 3)))
