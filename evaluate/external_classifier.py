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
class ExternalClassifier:
    """An attribute classifier that runs in onnxruntime.

    Attributes:
        session: the loaded network, with one float32 input (N, 3, H, W) and one output (N, classes).
        values: the names of its classes, in order.
        mean: subtracted from red, green and blue, whose levels are 0 to 255.
        scale: the difference is divided by it.
        size: (H, W) of its input; images are resized to it, bilinearly with antialiasing.
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


def load(path: Path, *, values: Sequence[str], mean: Sequence[float], scale: float) -> ExternalClassifier:
    """Loads a classifier from an ONNX file.

    Raises:
        InputError: no onnxruntime, no such file, or a network whose input or output differs from `ExternalClassifier`.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("--classifier needs onnxruntime: pip install onnxruntime") from error
    if not path.is_file():
        raise InputError(f"--classifier {path} does not exist")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the exceptions of onnxruntime have no common base class
        raise InputError(f"--classifier {path} cannot be read as ONNX: {str(error).splitlines()[0]}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape
    sized = len(shape) == 4 and shape[1] == 3 and all(isinstance(pixels, int) for pixels in shape[2:])
    if len(inputs) != 1 or len(outputs) != 1 or not sized:
        shapes = [each.shape for each in inputs]
        raise InputError(f"--classifier must have one input (N, 3, H, W) and one output, {path} has inputs of shape {shapes}")
    if outputs[0].shape[1:] != [len(values)]:
        raise InputError(
            f"--classifier-values must name the classes of {path}, whose output has shape {outputs[0].shape}; "
            f"got {' '.join(values)}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return ExternalClassifier(
        session, tuple(values), tuple(mean), scale, tuple(shape[2:]), {"file": path.name, "sha256": digest}
    )


def label_accuracy(classifier: ExternalClassifier, images: LabelledImages, values: Sequence[str]) -> dict[str, Any]:
    """The share of a set's images whose label the classifier predicts, with its Wilson interval, and the BER; JSON-ready.

    Arguments:
        classifier: the classifier.
        images: the set; its labels are positions in `values`.
        values: the evaluated values, all of which must be classes of the classifier.

    Raises:
        InputError: a value that is not a class of the classifier.
    """
    if absent := [value for value in values if value not in classifier.values]:
        raise InputError(
            f"--classifier-values lacks {', '.join(absent)}, which is evaluated; got {' '.join(classifier.values)}"
        )
    labels = np.array([classifier.values.index(value) for value in values])[images.labels]
    predicted = classifier.predict(images.images)
    kept = measure_retention(predicted[None], labels, values=len(classifier.values))
    of_value = [int(classifier.values.index(value)) for value in values]
    errors = group_errors(predicted, labels, values=len(classifier.values)).error[of_value]
    return {
        "external_label_accuracy": {
            "overall": kept.overall, "interval": kept.interval.tolist(), "ber": float(errors.mean()),
            "groups": kept.groups.rate[of_value].tolist(), "count": len(labels),
        }
    }  # fmt: skip
