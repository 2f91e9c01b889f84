"""What depends on the prompt alone is computed once a run, before the loop over the steps."""

import re

import jax
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.models.network import Network, abstract, condition_unet
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, sample
from jaxdiff.weight_file import named
from tests.small_pipeline import UNET

IMAGES, TOKENS, WIDTH = 5, 12, 8


@pytest.mark.optimized
def test_keys_and_values_of_prompts_are_computed_before_the_loop():
    """The compiler moves them there, with guidance too; no code of ours does."""
    of_one_level = {"widths": (WIDTH,), "transformers": (1,), "heads": (2,)}
    network, process = abstract(condition_unet, ConditionUNetConfig(**{**UNET, **of_one_level})), vp_cosine()

    def drawn(weights, condition, null):
        denoise = NetworkDenoiser(Network(weights, network.structure), process, "eps")
        guided = guidance.classifier_free(denoise, {"text": null}, 2.0)
        return sample(
            guided, process, shape=(8, 8, 4), solver=DDIM(3), key=jax.random.key(0), condition={"text": condition}
        )  # fmt: skip

    prompt = np.zeros((TOKENS, UNET["text_channels"]), np.float32)
    text = jax.jit(drawn).lower(network.weights, np.stack([prompt] * IMAGES), prompt).compile().as_text()
    # there are small loops beside it, of random numbers
    loop = max(re.findall(r"^ *\S+ = \((.*)\) while\(", text, re.MULTILINE), key=len)
    held = re.findall(rf"f32\[(?:{2 * IMAGES * TOKENS}|{2 * IMAGES},{TOKENS}),{WIDTH}\]", loop)
    kernels = [name for name in named(network.weights) if re.search("attn2/to_[kv]/", name)]
    assert len(kernels) == len(held) == 8
