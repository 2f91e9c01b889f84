"""The networks of the scores of time series, against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.quality.series.gru import gru
from jaxdiff.quality.series.ts2vec import encoded, ts2vec

torch = pytest.importorskip("torch")


def test_the_unit_is_torchs_where_the_place_of_the_reset_gate_does_not_matter(rng):
    """PyTorch resets after the product with the candidate's kernel: r ⊙ (V h) = V (r ⊙ h) for a diagonal V."""
    network = gru(3, 4, jax.random.key(0))
    w = {name: rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in network.weights.items()}
    w["candidate"][3:] *= np.eye(4, dtype=np.float32)
    reset, update = np.split(w["gates"].T, 2)
    joint = np.vstack([reset, update, w["candidate"].T])
    theirs = torch.nn.GRU(3, 4, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(torch.from_numpy(joint[:, :3].copy()))
        theirs.weight_hh_l0.copy_(torch.from_numpy(joint[:, 3:].copy()))
        theirs.bias_ih_l0.copy_(torch.from_numpy(np.concatenate([w["gates_bias"], w["candidate_bias"]])))
        theirs.bias_hh_l0.zero_()
        x = rng.normal(size=(5, 6, 3)).astype(np.float32)
        states = theirs(torch.from_numpy(x))[0].numpy()
    expected = states @ w["head"][:, 0] + w["head_bias"]
    np.testing.assert_allclose(type(network)(w, network.structure)(jnp.asarray(x)), expected, atol=1e-5)


def test_the_encoder_is_the_same_of_torchs_layers(rng):
    """Convolutions with zeros at both ends, GELU by the error function, and max-pooling over time."""
    network = ts2vec(3, np.random.default_rng(0))
    w = jax.tree.map(lambda leaf: torch.from_numpy(np.array(leaf)), network.weights)
    functional = torch.nn.functional

    def convolved(x, layer, dilation):
        return functional.conv1d(x, layer["kernel"].permute(2, 1, 0), layer["bias"], padding=dilation, dilation=dilation)

    x = rng.random((5, 24, 3)).astype(np.float32)
    y = functional.linear(torch.from_numpy(x), w["inputs"].T, w["inputs_bias"]).transpose(1, 2)
    for i, block in sorted(w["blocks"].items()):
        inner = convolved(functional.gelu(y), block["first"], 2**i)
        shortcut = functional.conv1d(y, block["shortcut"].T[..., None], block["shortcut_bias"]) if "shortcut" in block else y
        y = convolved(functional.gelu(inner), block["second"], 2**i) + shortcut
    expected = functional.max_pool1d(y, kernel_size=24)[..., 0].numpy()
    np.testing.assert_allclose(encoded(network, jnp.asarray(x)), expected, atol=2e-5)
