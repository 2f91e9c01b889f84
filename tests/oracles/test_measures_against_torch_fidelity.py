"""The measures of quality, against torch-fidelity on the same features; and pytorch-fid's resize against torch's."""

import importlib
import importlib.util
import sys
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.quality import (
    Moments,
    Normal,
    frechet_distance,
    frechet_estimate_to,
    inception,
    kernel_distance,
    precision_recall,
)

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def fidelity():
    """torch-fidelity's modules of the metrics, without what the package imports for its data: that takes a torchvision which
    was built for this very torch."""
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not installed")
    with pytest.MonkeyPatch.context() as patch:
        package, utilities = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.utils")
        package.__path__ = list(spec.submodule_search_locations)
        utilities.__getattr__ = lambda name: None
        patch.setitem(sys.modules, "torch_fidelity", package)
        patch.setitem(sys.modules, "torch_fidelity.utils", utilities)
        yield {name: importlib.import_module(f"torch_fidelity.metric_{name}") for name in ("fid", "kid", "prc")}


@pytest.fixture(params=[(400, 300, 24), (60, 90, 200)], ids=["many images", "fewer images than features"])
def features(request):
    """Features as those of Inception: at least 0, correlated, of unequal scales, float32; real and synthetic."""
    real, synthetic, dimension = request.param
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(dimension, dimension)) / dimension**0.5
    scales = rng.gamma(2.0, 0.2, dimension)
    drawn = [np.maximum(rng.normal(shift, 1, (count, dimension)) @ mixing + 0.4, 0) * scales for count, shift in
             ((real, 0.0), (synthetic, 0.2))]  # fmt: skip
    return [each.astype(np.float32) for each in drawn]


def test_the_frechet_distance_is_torch_fidelitys(features, fidelity):
    """Of the statistics that it computes and that it writes, to 1e-5."""
    real, synthetic = features
    stats = [
        fidelity["fid"].fid_features_to_statistics(torch.from_numpy(each.astype(np.float64))) for each in (synthetic, real)
    ]
    theirs = fidelity["fid"].fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    ours = frechet_distance(*(Moments.from_features(each) for each in (real, synthetic)))
    assert ours == pytest.approx(theirs, rel=1e-5) and theirs > 0.1
    assert frechet_estimate_to(Normal(stats[1]["mu"], stats[1]["sigma"]), synthetic).value == pytest.approx(theirs, rel=1e-5)


def test_the_kernel_distance_is_torch_fidelitys(features, fidelity):
    """In one subset of all images, where nothing is drawn."""
    count = min(map(len, features))
    real, synthetic = (each[:count] for each in features)
    theirs = fidelity["kid"].kid_features_to_metric(
        torch.from_numpy(synthetic.astype(np.float64)), torch.from_numpy(real.astype(np.float64)), kid_subsets=1,
        kid_subset_size=count, verbose=False,
    )["kernel_inception_distance_mean"]  # fmt: skip
    assert kernel_distance(real, synthetic).full.value == pytest.approx(theirs, rel=1e-5)
    assert abs(theirs) > 1e-4


def test_precision_and_recall_are_torch_fidelitys(features, fidelity):
    real, synthetic = features
    theirs = fidelity["prc"].prc_features_to_metric(
        torch.from_numpy(synthetic.astype(np.float64)), torch.from_numpy(real.astype(np.float64)), verbose=False
    )
    precision, recall = precision_recall(real, synthetic, replicates=2)
    assert (precision.value, recall.value) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-5)
    assert 0 < theirs["precision"] < 1 and 0 < theirs["recall"] < 1


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 48), (299, 299), (500, 310)])
def test_the_resize_of_pytorch_fid_is_that_of_torch(height, width):
    """pytorch-fid takes images in [0, 1], interpolates them and scales them to [-1, 1]; to the rounding of a position to
    float32, times the contrast."""
    photos = np.random.default_rng(height).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    unit = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
    theirs = 2 * torch.nn.functional.interpolate(unit, size=(299, 299), mode="bilinear", align_corners=False) - 1
    ours = inception.prepare(jnp.asarray(photos), "pytorch-fid")
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=(height + width) * 2.0**-23 + 1e-6)
