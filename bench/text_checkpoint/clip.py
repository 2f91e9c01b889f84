"""A text tower and an image tower with a common space: the text encoder of the pipeline begins here.

The image tower is trained first, to classify the attributes, and then the text tower, contrastively against the fixed image
tower (Zhai et al. 2022, LiT). Trained together from the start, both learn what covers many pixels (hair, background, skin) and
stay blind to the rest: neither learns of glasses while the other does not know of them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from bench.text_checkpoint.faces import CLIP, HELD_OUT, IMAGE_TOWER, INDEPENDENT, batch, faces
from bench.text_checkpoint.fitting import fit
from bench.text_checkpoint.plan import SIZE, TOKENS, Work
from bench.text_checkpoint.printing import in_words, say
from jaxdiff.data.embedded import ATTRIBUTES
from jaxdiff.data.embedded_captions import PHRASES, captions, prompt

WIDTH = 64
"""Of the text tower, of its prompts in the UNet, and of the space that both towers share."""
_BATCH = 128
_SHARPNESS = 8  # of embeddings of norm 1, so that scores can be certain


def tokens(tokenizer: CLIPTokenizer, texts: Sequence[str], *, whole: bool = True) -> Int[torch.Tensor, "n l"]:
    """Tokens of texts, padded to the length of prompts, or to that of the longest text where only the end token is read: the
    tower is causal, so that what follows the end changes nothing before it."""
    padding = "max_length" if whole else "longest"
    return tokenizer(list(texts), padding=padding, max_length=TOKENS, truncation=True, return_tensors="pt").input_ids


def text_embeddings(model: CLIPModel, ids: Int[torch.Tensor, "n l"]) -> Float[torch.Tensor, "n d"]:
    """Projected embeddings of prompts, of norm 1."""
    return functional.normalize(model.text_projection(model.text_model(ids).pooler_output), dim=-1)


def image_embeddings(model: CLIPModel, images: Float[torch.Tensor, "n 3 h w"]) -> Float[torch.Tensor, "n d"]:
    """Projected embeddings of images in [-1, 1], of norm 1."""
    return functional.normalize(model.visual_projection(model.vision_model(images).pooler_output), dim=-1)


def contrast(model: CLIPModel, texts: Float[torch.Tensor, "n d"], images: Float[torch.Tensor, "n d"]) -> torch.Tensor:
    """CLIP's loss of pairs (Radford et al. 2021): the cross-entropy of finding each one's partner, both ways."""
    logits = model.logit_scale.exp() * texts @ images.T
    partners = torch.arange(len(texts))
    return (functional.cross_entropy(logits, partners) + functional.cross_entropy(logits.T, partners)) / 2


def pairs(step: int, size: int, seed: int, tokenizer: CLIPTokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of faces without associations, and tokens of their captions; those with an empty caption are left out."""
    indices = batch(CLIP, step, size)
    images, labels = faces(indices, INDEPENDENT)
    texts = captions(labels, indices, seed=seed)
    kept = [row for row, text in enumerate(texts) if text]
    return images[kept], tokens(tokenizer, [texts[row] for row in kept], whole=False)


def train_clip(work: Work, tokenizer_folder: Path) -> CLIPModel:
    """Both towers, trained."""
    folder = work.finished("clip")
    if folder.exists():
        return CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(work.plan.seed)
    model = CLIPModel(_config(tokenizer))
    _train_image_tower(work, model)

    def loss(step: int) -> torch.Tensor:
        images, ids = pairs(step, _BATCH, work.plan.seed, tokenizer)
        with torch.no_grad():
            embedded_images = image_embeddings(model, images)
        return contrast(model, text_embeddings(model, ids), embedded_images)

    text = [*model.text_model.parameters(), *model.text_projection.parameters(), model.logit_scale]
    fit(
        "clip",
        model,
        loss,
        steps=work.plan.clip_steps,
        rate=2e-3,
        seed=work.plan.seed,
        state=work.state("clip"),
        parameters=text,
    )
    model.save_pretrained(folder.with_suffix(".partial"))
    folder.with_suffix(".partial").replace(folder)
    return model


def _train_image_tower(work: Work, model: CLIPModel) -> None:
    """Trains the image tower, in place: each attribute is a linear function of the embeddings."""
    counts = [len(attribute.values) for attribute in ATTRIBUTES]
    head = nn.Linear(WIDTH, sum(counts))

    def loss(step: int) -> torch.Tensor:
        images, labels = faces(batch(IMAGE_TOWER, step, _BATCH), INDEPENDENT)
        scores = head(_SHARPNESS * image_embeddings(model, images)).split(counts, dim=1)
        truth = torch.from_numpy(labels).long()
        return sum(functional.cross_entropy(each, truth[:, column]) for column, each in enumerate(scores))

    fit(
        "image tower", nn.ModuleDict({"clip": model, "head": head}), loss, steps=work.plan.image_tower_steps, rate=2e-3,
        seed=work.plan.seed, state=work.state("image-tower"),
        parameters=[*model.vision_model.parameters(), *model.visual_projection.parameters(), *head.parameters()],
    )  # fmt: skip


def _config(tokenizer: CLIPTokenizer) -> CLIPConfig:
    tower = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4, "hidden_act": "quick_gelu"}
    text = {
        "vocab_size": len(tokenizer), "num_hidden_layers": 2, "max_position_embeddings": TOKENS,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {"num_hidden_layers": 4, "image_size": SIZE, "patch_size": 8}
    return CLIPConfig(
        text_config={**tower, **text, "projection_dim": WIDTH},
        vision_config={**tower, **vision, "projection_dim": WIDTH},
        projection_dim=WIDTH,
    )


@torch.no_grad()
def zero_shot(model: CLIPModel, tokenizer: CLIPTokenizer, count: int) -> dict[str, float]:
    """The share of held-out faces whose attribute is the one whose prompt is nearest, by attribute."""
    images, labels = faces(np.arange(HELD_OUT, HELD_OUT + count), INDEPENDENT)
    found = torch.cat([image_embeddings(model, part) for part in images.split(256)])
    shares = {}
    for column, attribute in enumerate(ATTRIBUTES):
        texts = (
            [prompt(phrases=[phrase]) for phrase in PHRASES[attribute.name]]
            if attribute.name in PHRASES
            else [prompt(group=value) for value in attribute.values]
        )
        nearest = (found @ text_embeddings(model, tokens(tokenizer, texts, whole=False)).T).argmax(1).numpy()
        shares[attribute.name] = float((nearest == labels[:, column]).mean())
    say(f"clip: the nearest prompt is right for {in_words(shares)}")
    return shares
