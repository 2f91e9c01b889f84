"""An external attribute classifier from an ONNX file, trained on neither the model's samples nor its data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxdiff.errors import InputError
from jaxdiff.fairness.associated import measure_retention
from jaxdiff.fairness.evaluation import LabelledImages
from jaxdiff.fairness.metrics import group_errors
from jaxdiff.spaces import rgb

BATCH = 256


@dataclass(frozen=True)
class OutsideJudge:
    """A classifier that runs in onnxruntime.

    Attributes:
        session: the loaded network: one input (N, 3, H, W), float32, one output (N, classes).
        values: the names of its classes, in their order.
        mean: subtracted from the levels 0 to 255 of red, green and blue.
        scale: then divided by.
        size: (H, W) of its input; images are resized to it, bilinearly and with antialiasing.
        about: file name and checksum.
    """

    session: Any
    values: tuple[str, ...]
    mean: tuple[float, float, float]
    scale: float
    size: tuple[int, int]
    about: dict[str, str]

    def predict(self, images) -> np.ndarray:
        """The class of each image uint8 (N, H, W, C); see `jaxdiff.spaces.rgb`."""
        name = self.session.get_inputs()[0].name
        answers = []
        for start in range(0, len(images), BATCH):
            part = np.stack([self._fitted(image) for image in rgb(images[start : start + BATCH])])
            scaled = (part.astype(np.float32) - np.float32(self.mean)) / np.float32(self.scale)
            (scores,) = self.session.run(None, {name: np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))})
            answers.append(scores.argmax(axis=1))
        return np.concatenate(answers)

    def _fitted(self, image):
        if image.shape[:2] == self.size:
            return image
        return np.asarray(Image.fromarray(image).resize(self.size[::-1], Image.Resampling.BILINEAR))


def load(path: Path, *, values: Sequence[str], mean: Sequence[float], scale: float) -> OutsideJudge:
    """The judge that an ONNX file holds.

    Raises:
        InputError: no onnxruntime, no such file, or a network that does not take and give what `OutsideJudge` says.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("--judge needs onnxruntime: pip install onnxruntime") from error
    if not path.is_file():
        raise InputError(f"--judge {path} does not exist")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many kinds, of no common parent
        raise InputError(f"--judge {path} cannot be read as ONNX: {str(error).splitlines()[0]}") from error
    taken, given = session.get_inputs(), session.get_outputs()
    shape = taken[0].shape
    sized = len(shape) == 4 and shape[1] == 3 and all(isinstance(pixels, int) for pixels in shape[2:])
    if len(taken) != 1 or len(given) != 1 or not sized:
        raise InputError(f"--judge must have one input (N, 3, H, W) and one output, {path} takes {[x.shape for x in taken]}")
    if given[0].shape[1:] != [len(values)]:
        raise InputError(f"--judge-values must name the classes of {path}, {given[0].shape}, got {' '.join(values)}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return OutsideJudge(session, tuple(values), tuple(mean), scale, tuple(shape[2:]), {"file": path.name, "sha256": digest})


def verdict(judge: OutsideJudge, images: LabelledImages, values: Sequence[str]) -> dict[str, Any]:
    """How often the judge sees the label of a set's images, JSON-ready: shares with Wilson's intervals, and the BER.

    Arguments:
        judge: the judge.
        images: the set, its labels positions in `values`.
        values: the values under judgement; the judge must know them all.

    Raises:
        InputError: a value that the judge does not know.
    """
    if absent := [value for value in values if value not in judge.values]:
        raise InputError(f"--judge-values lacks {', '.join(absent)}, which is evaluated; got {' '.join(judge.values)}")
    labels = np.array([judge.values.index(value) for value in values])[images.labels]
    predicted = judge.predict(images.images)
    kept = measure_retention(predicted[None], labels, values=len(judge.values))
    of_value = [int(judge.values.index(value)) for value in values]
    errors = group_errors(predicted, labels, values=len(judge.values)).error[of_value]
    return {
        "outside": {
            "overall": kept.overall, "interval": kept.interval.tolist(), "ber": float(errors.mean()),
            "groups": kept.groups.rate[of_value].tolist(), "count": len(labels),
        }
    }  # fmt: skip
