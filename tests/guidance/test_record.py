"""The record of a guidance: whether, when and how strongly it acted on each sample."""

import jax.numpy as jnp
import numpy as np

from jaxdiff import guidance
from jaxdiff.denoiser import Memory, initial_memory
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, sample

N = 6
PROCESS = vp_cosine()
POINTS = np.array([[1.0, 0.5], [-1.0, 0.0], [0.75, -0.5], [-0.75, 0.25]], np.float32)


def labelled(x, t, condition):
    """A posterior mean that is the condition."""
    return jnp.broadcast_to(condition[:, None], x.shape).astype(x.dtype)


def remembered(denoise, key):
    """What a run of 8 steps remembers."""
    labels = jnp.arange(N) % 2
    return sample(denoise, PROCESS, shape=(2,), solver=DDIM(8), key=key, condition=labels, return_memory=True)[1]


def test_the_record_holds_whether_when_and_how_strongly_it_acted():
    """One sample within the radius of a reference at the second of three nodes alone, and one never."""
    path = jnp.asarray([[[5.0, 0.0], [9.0, 9.0]], [[0.0, 0.5], [9.0, 9.0]], [[0.0, 2.0], [9.0, 9.0]]])
    itself = lambda x, t, condition: x  # noqa: E731
    guided = guidance.repellency(itself, PROCESS, np.zeros((1, 2), np.float32), radius=1.0, strength=1.6, window=(0.0, 100.0))
    memory = guided.begin(path[0])
    for x, t in zip(path, (0.9, 0.6, 0.3), strict=True):
        memory = guided.guide(itself, x, t, None, memory)[1]
    memory = guided.guide(itself, path[1], 0.01, None, memory)[1]  # outside the window
    found = guidance.record(guided, Memory(memory, ((),)), 2)
    np.testing.assert_array_equal(found.acted, [1, 0])
    np.testing.assert_array_equal(found.looked, [3, 3])
    np.testing.assert_allclose(found.first, [0.6, np.nan])
    np.testing.assert_allclose(found.last, [0.6, np.nan])
    np.testing.assert_allclose(found.strongest, [1.6 * 0.5 / 2**0.5, 0.0], rtol=1e-6)


def test_the_record_is_the_outermost_guidance_s_of_the_samples_own_rows(key):
    inner = guidance.safety_flow(labelled, PROCESS, POINTS, strength=1.0, window=(0.0, 0.5))
    nest = guidance.clipped(guidance.repellency(inner, PROCESS, POINTS, radius=0.5), -9.0, 9.0)
    memory = remembered(nest, key)
    assert memory.own == () and memory.children[0].own[1].acted.shape == (N,)
    found = guidance.record(nest, memory, N)
    np.testing.assert_array_equal(found.looked, 8)
    flow = guidance.classifier_free(inner, -1, 2.0)
    plain, found = guidance.classifier_free(labelled, -1, 2.0), guidance.record(flow, remembered(flow, key), N)
    assert found.acted.shape == (N,) and (found.acted == found.looked).all() and 0 < found.looked[0] < 8
    assert guidance.record(plain, initial_memory(plain, jnp.zeros((N, 2))), N) is None
