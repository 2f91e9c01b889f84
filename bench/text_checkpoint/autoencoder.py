"""The autoencoder: images of 32 x 32 to latents of 8 x 8 x 4, each channel of mean 0 and variance 1."""

from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float

from bench.text_checkpoint.classifier import AttributeClassifier
from bench.text_checkpoint.faces import AUTOENCODER, HELD_OUT, INDEPENDENT, batch, faces
from bench.text_checkpoint.fitting import fit
from bench.text_checkpoint.plan import SIZE, Work
from bench.text_checkpoint.printing import in_words, say
from jaxdiff.data.embedded import ATTRIBUTES

SCALING_FACTOR = 1.0
"""Of latents, as the folder states it. It is not Stable Diffusion's 0.18215, so that a reader who assumes that fails."""
_BATCH = 16
_KL = 1e-4  # ten times more, and one of the four channels carries nothing but noise


class Reconstruction(NamedTuple):
    """How well held-out faces are reconstructed.

    Attributes:
        psnr: mean peak signal-to-noise ratio in dB.
        agreement: share of faces whose attribute is read from the reconstruction as it is, by attribute.
    """

    psnr: float
    agreement: dict[str, float]


def train_autoencoder(work: Work) -> AutoencoderKL:
    """The trained autoencoder with whitened latents. It sees attributes at equal rates, so that rare faces are no blurrier."""
    folder = work.finished("autoencoder")
    if folder.exists():
        return AutoencoderKL.from_pretrained(folder).eval()
    torch.manual_seed(work.plan.seed)
    widths = (32, 64, 64)
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=SIZE,
        scaling_factor=SCALING_FACTOR,
    ).to(memory_format=torch.channels_last)

    def loss(step: int) -> torch.Tensor:
        images, _ = faces(batch(AUTOENCODER, step, _BATCH), INDEPENDENT)
        posterior = network.encode(images).latent_dist
        error = network.decode(posterior.sample()).sample - images
        edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        return error.abs().mean() + 2 * error.square().mean() + 0.5 * edges + _KL * divergence

    fit(
        "autoencoder", network, loss, steps=work.plan.autoencoder_steps, rate=1.5e-3, seed=work.plan.seed,
        state=work.state("autoencoder"),
    )  # fmt: skip
    whiten(network, faces(np.arange(work.plan.held_out))[0])
    network.save_pretrained(folder.with_suffix(".partial"))
    folder.with_suffix(".partial").replace(folder)
    return network


@torch.no_grad()
def whiten(network: AutoencoderKL, images: Float[torch.Tensor, "n 3 h w"]) -> None:
    """Gives each channel of the latents mean 0 and variance 1 on these images, and leaves reconstructions as they are.

    Trained channels differ in scale by a factor of ten, which one scaling factor cannot mend. But quant_conv and
    post_quant_conv are 1x1 convolutions, which take a shift and a scale of each channel exactly: the mean becomes
    (mean - m) / s, the log-variance loses 2 log s, and the decoder reads s z + m.
    """
    means = network.encode(images).latent_dist.mean
    shift, scale = means.mean((0, 2, 3)), means.std((0, 2, 3))
    before, after, channels = network.quant_conv, network.post_quant_conv, len(shift)
    before.weight[:channels] /= scale[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - shift) / scale
    before.bias[channels:] -= 2 * scale.log()
    after.bias += after.weight[:, :, 0, 0] @ shift
    after.weight *= scale[None, :, None, None]


@torch.no_grad()
def encode(network: AutoencoderKL, images: Float[torch.Tensor, "n 3 h w"]) -> Float[torch.Tensor, "n 4 h w"]:
    """Latents as the UNet sees them: the posterior's mean, scaled."""
    return network.encode(images).latent_dist.mean * network.config.scaling_factor


@torch.no_grad()
def reconstruction(network: AutoencoderKL, classifier: AttributeClassifier, count: int) -> Reconstruction:
    """The quality of reconstructions of `count` held-out faces."""
    images, labels = faces(np.arange(HELD_OUT, HELD_OUT + count), INDEPENDENT)
    again = torch.cat([network.decode(network.encode(part).latent_dist.mean).sample for part in images.split(64)])
    again = again.clamp(-1, 1)
    psnr = 10 * torch.log10(4 / (again - images).square().mean((1, 2, 3)))
    right = (classifier.labels(again) == labels).mean(0)
    names = [attribute.name for attribute in ATTRIBUTES]
    result = Reconstruction(psnr.mean().item(), dict(zip(names, right.tolist(), strict=True)))
    say(f"autoencoder: {result.psnr:.1f} dB; the classifier is right on {in_words(result.agreement)}")
    return result
