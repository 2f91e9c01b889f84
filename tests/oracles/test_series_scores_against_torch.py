"""The networks of the scores of time series, against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.quality.series.gru import gru

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
