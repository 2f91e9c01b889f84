"""Both frameworks in `evaluate speed` with a text-to-image pipeline: from prompts to images, guided.

diffusers loads the folder that jaxdiff writes. Its pipeline is timed as its users call it, with DDIM.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxdiff import interop
from jaxdiff.models.network import Network

from .speed_framework import start
from .speed_jaxdiff import Jaxdiff
from .speed_pytorch import PyTorch
from .speed_text_workload import PIPELINES, SCALE, TextWorkload
from .timing import Run


def build_jaxdiff(network: str, sizes: Mapping[str, int]) -> "TextJaxdiff":
    """Builds jaxdiff in its own process; for arguments see `TextWorkload`."""
    start()
    return TextJaxdiff(TextWorkload(PIPELINES[network], **sizes))


def build_pytorch(network: str, sizes: Mapping[str, int]) -> "TextPyTorch":
    """Builds PyTorch in its own process, see `evaluate.speed_pytorch.build`; for arguments see `TextWorkload`."""
    start()
    jax.config.update("jax_platforms", "cpu")
    return TextPyTorch(TextWorkload(PIPELINES[network], **sizes))


class TextJaxdiff(Jaxdiff):
    """jaxdiff, which draws with a text-to-image model."""

    workload: TextWorkload

    def exported(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The name of a folder of diffusers with the pipeline, in the folder of the workload."""
        interop.save(self.folder / "pipeline", self.workload.model("float32"))
        return {"folder": str(self.folder / "pipeline")}, {}

    def flops(self, task: str) -> int | None:
        """See `Framework.flops`."""
        return self.workload.flops_of(task, self.workload.pass_flops, self.workload.decoding_flops)

    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        """Draws a batch from its prompts: `sampling`, or `interval` with guidance in an interval alone."""
        workload, model = self.workload, self.workload.model(dtype)
        prompts = workload.prompts(workload.labels(workload.batch))

        def run(index: int) -> None:
            condition = model.conditions.encode_prompts([*prompts, ""])
            null, condition = jax.tree.map(lambda leaf: leaf[-1], condition), jax.tree.map(lambda leaf: leaf[:-1], condition)
            denoise = workload.guided(model, null, within=method == "interval")
            model.space.decode(self._drawn(denoise, condition, index))

        return run

    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The UNet's output in float32, products in full precision."""
        with jax.default_matmul_precision("highest"):
            model = self.workload.model("float32")
            condition = model.conditions.encode_prompts(self.workload.prompts(labels))
            return np.asarray(jax.jit(Network.__call__)(model.network, x, t, condition))

    def run_ends(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last latents of a guided run in float32, products in full precision."""
        workload = self.workload
        with jax.default_matmul_precision("highest"):
            model = workload.model("float32")
            condition = model.conditions.encode_prompts(workload.prompts(workload.labels(count)))
            denoise = workload.guided(model, jax.tree.map(lambda leaf: leaf[0], model.conditions.encode_prompts([""])))
            x = self._drawn(denoise, condition, workload.seed, path=True)
        return np.asarray(x[0]), np.asarray(x[-1])


class TextPyTorch(PyTorch):
    """PyTorch, which draws with diffusers' StableDiffusionPipeline."""

    workload: TextWorkload

    def __init__(self, workload: TextWorkload):
        super().__init__(workload)
        import transformers

        for library in (self.diffusers, transformers.utils):
            library.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()

    def load_weights(self, settings: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
        """Takes the folder from `TextJaxdiff.exported`."""
        self.source = settings["folder"]

    def flops(self, task: str) -> int | None:
        """See `Framework.flops`."""
        return self.workload.flops_of(task, *self._counted)

    @cached_property
    def _counted(self) -> tuple[int, int]:
        """Matrix operations of one pass of the UNet for one row, and of decoding an image."""
        torch, pipeline = self.torch, self._pipeline("float32", "eager")
        height, width, channels = self.workload.shape
        latents = torch.zeros((1, channels, height, width), device=self.device)
        text = torch.zeros((1, self.workload.config.text.positions, self.workload.config.text.width), device=self.device)
        with torch.inference_mode():
            row = self._count(lambda: pipeline.unet(latents, torch.zeros(1, device=self.device), text))
            return row, self._count(lambda: pipeline.vae.decode(latents))

    def _pipeline(self, dtype: str, mode: str) -> Any:
        """The pipeline in this dtype and mode."""
        if (dtype, mode) not in self._models:
            made = self.diffusers.StableDiffusionPipeline.from_pretrained(
                self.source, dtype=getattr(self.torch, dtype), local_files_only=True
            )
            made.scheduler = self.diffusers.DDIMScheduler.from_config(made.scheduler.config)
            made = made.to(self.device)
            made.set_progress_bar_config(disable=True)
            made.vae = made.vae.to(memory_format=self._layout(mode))
            made.unet = self._in_mode(made.unet, mode)
            made.vae.decode = self._compiled(made.vae.decode, mode)
            self._models[dtype, mode] = made
        return self._models[dtype, mode]

    def _latents(self, pipeline: Any, start: Any, labels: np.ndarray, output: str) -> Any:
        return pipeline(
            prompt=self.workload.prompts(labels), num_inference_steps=self.workload.steps, guidance_scale=SCALE, latents=start,
            output_type=output,
        ).images  # fmt: skip

    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        """Draws a batch from its prompts."""
        workload, pipeline, precision = self.workload, self._pipeline(dtype, mode), getattr(self.torch, dtype)
        labels = workload.labels(workload.batch)

        def run(index: int) -> None:
            self._latents(pipeline, self._noise(workload.batch, mode, index).to(precision), labels, "np")

        return run

    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The UNet's output in float32, without TF32."""
        self.allow_tf32(False)
        pipeline = self._pipeline("float32", "eager")
        times = self.torch.from_numpy(t * self.workload.process.timesteps - 1).to(self.device)
        with self.torch.inference_mode():
            text, _ = pipeline.encode_prompt(self.workload.prompts(labels), self.device, 1, False)
            output = pipeline.unet(self._given(x, "eager"), times, text).sample
        return output.permute(0, 2, 3, 1).cpu().numpy()

    def run_end(self, start: np.ndarray) -> np.ndarray:
        """The last latents of a guided run from these first ones, in float32 without TF32."""
        self.allow_tf32(False)
        labels = self.workload.labels(len(start))
        latents = self._latents(self._pipeline("float32", "eager"), self._given(start, "eager"), labels, "latent")
        return latents.permute(0, 2, 3, 1).cpu().numpy()
