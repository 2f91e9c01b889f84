"""An attribute classifier of faces without associations: it judges what drawn faces show."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from bench.text_checkpoint.faces import CLASSIFIER, HELD_OUT, INDEPENDENT, batch, faces
from bench.text_checkpoint.fitting import fit
from bench.text_checkpoint.plan import Work
from bench.text_checkpoint.printing import in_words, say
from jaxdiff.data.embedded import ATTRIBUTES

_BATCH = 64


class AttributeClassifier(nn.Module):
    """A convolutional network with a head for each attribute."""

    def __init__(self):
        super().__init__()
        widths = (3, 24, 48, 64)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 96), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(96, len(attribute.values)) for attribute in ATTRIBUTES)

    def forward(self, images: Float[torch.Tensor, "n 3 h w"]) -> list[Float[torch.Tensor, "n values"]]:
        """Logits of each attribute's values."""
        features = self.features(images)
        return [head(features) for head in self.heads]

    @torch.no_grad()
    def labels(self, images: Float[torch.Tensor, "n 3 h w"]) -> np.ndarray:
        """The most likely labels (n, a) of images in [-1, 1], in the order of `ATTRIBUTES`."""
        return torch.stack([logits.argmax(1) for logits in self(images)], 1).numpy()


def train_classifier(work: Work) -> AttributeClassifier:
    """The trained classifier. It sees blurred and noisy faces, too, since drawn ones are."""
    torch.manual_seed(work.plan.seed)
    network, file = AttributeClassifier(), work.finished("classifier.pt")
    if file.exists():
        network.load_state_dict(torch.load(file, weights_only=True))
        return network.eval()

    def loss(step: int) -> torch.Tensor:
        images, labels = faces(batch(CLASSIFIER, step, _BATCH), INDEPENDENT)
        images = images + 0.05 * torch.rand(_BATCH, 1, 1, 1) * torch.randn_like(images)
        blurred = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
        images = torch.lerp(images, blurred, 0.6 * torch.rand(_BATCH, 1, 1, 1))
        targets = torch.from_numpy(labels).long()
        return sum(functional.cross_entropy(logits, targets[:, i]) for i, logits in enumerate(network(images)))

    fit(
        "classifier", network, loss, steps=work.plan.classifier_steps, rate=2e-3, seed=work.plan.seed,
        state=work.state("classifier"),
    )  # fmt: skip
    write(network.state_dict(), file)
    images, labels = faces(np.arange(HELD_OUT, HELD_OUT + work.plan.held_out), INDEPENDENT)
    shown = (network.labels(images) == labels).mean(0)
    names = [attribute.name for attribute in ATTRIBUTES]
    say(f"classifier: right on {in_words(dict(zip(names, shown, strict=True)))}")
    return network


def write(state: object, file: Path) -> None:
    """Saves tensors whole or not at all."""
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(file)
