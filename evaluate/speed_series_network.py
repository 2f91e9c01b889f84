"""The transformer of series in PyTorch, written from the formulas of its paper with PyTorch's own layers."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from jaxdiff.models.series_config import SeriesConfig


class AdaptiveNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.dense, self.norm = nn.Linear(width, 2 * width), nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, x, embedding):
        scale, shift = self.dense(functional.silu(embedding))[:, None].chunk(2, -1)
        return self.norm(x) * (1 + scale) + shift


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, other):
        query, key, value = (
            project(each).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, each in ((self.query, x), (self.key, other), (self.value, other))
        )
        return self.out(functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


def feed_forward(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class EncoderBlock(nn.Module):
    def __init__(self, config: SeriesConfig):
        super().__init__()
        self.adaptive, self.attention = AdaptiveNorm(config.width), Attention(config.width, config.heads)
        self.norm, self.forwards = nn.LayerNorm(config.width), feed_forward(config.width)

    def forward(self, x, embedding):
        normed = self.adaptive(x, embedding)
        x = x + self.attention(normed, normed)
        return x + self.forwards(self.norm(x))


class DecoderBlock(nn.Module):
    def __init__(self, config: SeriesConfig):
        super().__init__()
        width, length, features = config.width, config.length, config.features
        self.adaptive, self.adaptive_crossed = AdaptiveNorm(width), AdaptiveNorm(width)
        self.attention, self.crossed = Attention(width, config.heads), Attention(width, config.heads)
        self.norm, self.forwards = nn.LayerNorm(width), feed_forward(width)
        self.split = nn.Conv1d(length, 2 * length, 1)
        self.trend, self.trend_out = nn.Conv1d(length, 3, 3, padding=1), nn.Conv1d(width, features, 3, padding=1)
        self.mean = nn.Linear(width, features)
        steps = torch.arange(1, length + 1, dtype=torch.float64) / (length + 1)
        self.register_buffer("basis", torch.stack([steps, steps**2, steps**3]).float(), persistent=False)

    def forward(self, x, encoded, embedding):
        normed = self.adaptive(x, embedding)
        x = x + self.attention(normed, normed)
        x = x + self.crossed(self.adaptive_crossed(x, embedding), encoded)
        for_trend, for_season = self.split(x).chunk(2, 1)
        coefficients = self.trend_out(functional.gelu(self.trend(for_trend)).transpose(1, 2))  # (B, F, 3)
        x = x + self.forwards(self.norm(x))
        mean = x.mean(1, keepdim=True)
        return x - mean, (coefficients @ self.basis).transpose(1, 2), season(for_season), self.mean(mean)


def season(x):
    """The strongest frequencies of each channel, without the mean and the Nyquist frequency."""
    length = x.shape[1]
    spectrum = torch.fft.rfft(x, dim=1)
    last = spectrum.shape[1] - (1 if length % 2 == 0 else 0)
    count = max(1, int(math.log(last - 1)))
    chosen = spectrum[:, 1:last].abs().topk(count, 1).indices + 1
    return torch.fft.irfft(torch.zeros_like(spectrum).scatter(1, chosen, spectrum.gather(1, chosen)), n=length, dim=1)


class SeriesTransformer(nn.Module):
    """The network of a configuration; it returns the trend, the season and the residual."""

    def __init__(self, config: SeriesConfig):
        super().__init__()
        self.config, width, features = config, config.width, config.features
        inputs = features * (2 if config.known_input else 1)
        if config.end_input:
            self.embedding = nn.Conv1d(features, width // 2, 3, padding=1)
            self.end_embedding = nn.Conv1d(inputs, width // 2, 3, padding=1)
        else:
            self.embedding = nn.Conv1d(inputs, width, 3, padding=1)
        self.encoder_positions, self.decoder_positions = (nn.Parameter(torch.zeros(config.length, width)) for _ in range(2))
        # a table for each attribute, whose last row is the null label's
        self.tables = nn.ModuleList(nn.Embedding(count + 1, width) for count in config.values)
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder))
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder))
        kernel = config.season_kernel
        self.season = nn.Conv1d(width, features, kernel, padding=kernel // 2, padding_mode="circular", bias=False)
        self.means = nn.Conv1d(config.decoder, 1, 1, bias=False)
        self.residual = nn.Conv1d(width, features, 3, padding=1)
        half = width // 2
        self.register_buffer(
            "frequencies", 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / (half - 1)), persistent=False
        )

    def forward(self, x, t, end=None, known=None, labels=None):
        angles = 1000 * t[:, None] * self.frequencies
        embedding = torch.cat([angles.sin(), angles.cos()], -1).to(x.dtype)
        for attribute, table in enumerate(self.tables):
            embedding = embedding + table(labels[:, attribute] % table.num_embeddings)
        config = self.config
        with_mask = end if config.end_input else x
        with_mask = torch.cat([with_mask, known.to(x.dtype)], -1) if config.known_input else with_mask
        embedded = self.embedding((x if config.end_input else with_mask).transpose(1, 2)).transpose(1, 2)
        if config.end_input:
            embedded = torch.cat([embedded, self.end_embedding(with_mask.transpose(1, 2)).transpose(1, 2)], -1)
        encoded = embedded + self.encoder_positions
        for block in self.encoder:
            encoded = block(encoded, embedding)
        hidden, trends, seasons, means = embedded + self.decoder_positions, 0, 0, []
        for block in self.decoder:
            hidden, trend, seasonal, mean = block(hidden, encoded, embedding)
            trends, seasons = trends + trend, seasons + seasonal
            means.append(mean)
        residual = self.residual(hidden.transpose(1, 2)).transpose(1, 2)
        centre = residual.mean(1, keepdim=True)
        trend = trends + self.means(torch.cat(means, 1)) + centre
        return trend, self.season(seasons.transpose(1, 2)).transpose(1, 2), residual - centre


def state_of(config: SeriesConfig, ours: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of ours, by their names in `weight_file.named`, as the state of the network here."""
    state = {}

    def take(theirs: str, name: str, part: tuple[int, int] | None = None, of: str = "dense") -> None:
        for suffix, weight in (("kernel", "weight"), ("bias", "bias")):
            if (array := ours.get(f"{name}/{suffix}")) is None:
                continue
            array = array if part is None else np.split(array, part[1], -1)[part[0]]
            if suffix == "kernel":
                array = array.T if of != "pointwise" else array.T[..., None]  # (taps, inputs, outputs) is reversed, too
            state[f"{theirs}.{weight}"] = array.copy()

    def attention(theirs: str, name: str) -> None:
        for part in ("query", "key", "value", "out"):
            take(f"{theirs}.{part}", f"{name}/{part}")

    norms = iter(range(count := config.encoder + 2 * config.decoder))
    for kind, blocks in (("encoder", config.encoder), ("decoder", config.decoder)):
        for i in range(blocks):
            at, to = f"{kind}/{i}", f"{kind}.{i}"
            take(f"{to}.adaptive.dense", "modulation", (next(norms), count))
            attention(f"{to}.attention", f"{at}/attention")
            take(f"{to}.forwards.0", f"{at}/forward/inner")
            take(f"{to}.forwards.2", f"{at}/forward/out")
            state[f"{to}.norm.weight"] = ours[f"{at}/norm/scale"].copy()
            state[f"{to}.norm.bias"] = ours[f"{at}/norm/bias"].copy()
            if kind == "decoder":
                take(f"{to}.adaptive_crossed.dense", "modulation", (next(norms), count))
                attention(f"{to}.crossed", f"{at}/cross_attention")
                take(f"{to}.split", f"{at}/split", of="pointwise")
                take(f"{to}.trend", f"{at}/trend")
                take(f"{to}.trend_out", f"{at}/trend/out")
                take(f"{to}.mean", f"{at}/mean")
    for name in ("embedding", "end_embedding", "season", "residual"):
        take(name, name)
    for name in ("encoder_positions", "decoder_positions"):
        state[name] = ours[name].copy()
    state["means.weight"] = ours["mean_scale"][None, :, None].copy()
    if config.values:
        starts = np.cumsum([count + 1 for count in config.values])[:-1]
        for i, table in enumerate(np.split(ours["label_table"], starts)):
            state[f"tables.{i}.weight"] = table.copy()
    return state
