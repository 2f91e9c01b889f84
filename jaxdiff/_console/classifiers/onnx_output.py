"""How the answers of a classifier in ONNX are read: scores, one score, labels, and probabilities by label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxdiff.errors import InputError

from .onnx_graph import OnnxGraph

THRESHOLDS = {"Sigmoid": 0.5, "Gemm": 0.0, "MatMul": 0.0, "Conv": 0.0}
"""The threshold of a single score, by the operation that computes it: a probability, or its logit."""


class Scores(NamedTuple):
    """Scores that a classifier answers.

    Attributes:
        output: the name of the output.
        table: a column for each class, or one for two.
        order: the class of each column; of a single column, that at or below the threshold and that above it.
    """

    output: str
    table: Float[np.ndarray, "n k"]
    order: Int[np.ndarray, " c"]


@dataclass(frozen=True)
class OutputFormat:
    """How a classifier answers.

    Attributes:
        file: the ONNX file, for errors.
        option: the option that names it, for errors.
        values: the names of the classes, in order.
        renamed: whether `values` names the classes of this file, so that names in the file are replaced in order.
        outputs: the names of the outputs that are asked for.
        thresholds: of the outputs whose operation implies it, for a single score.
        threshold: of every single score; None takes `thresholds`.
    """

    file: Any
    option: str
    values: tuple[str, ...]
    renamed: bool
    outputs: tuple[str, ...]
    thresholds: Mapping[str, float]
    threshold: float | None = None

    @staticmethod
    def of(
        file: Any, known: Sequence[str], graph: OnnxGraph, *, option: str, values: Sequence[str], renamed: bool,
        output: str | None, threshold: float | None,
    ) -> "OutputFormat":  # fmt: skip
        """The format of a file with the outputs `known`. Raises `InputError` if `output` is none of them."""
        if output is not None and output not in known:
            raise InputError(f"{option}-output {output} is no output of {file}; it has {', '.join(known)}")
        outputs = tuple(known) if output is None else (output,)
        found = {name: THRESHOLDS[operation] for name in outputs if (operation := graph.operation(name)) in THRESHOLDS}
        return OutputFormat(file, option, tuple(values), renamed, outputs, found, threshold)

    def classes(self, named: Mapping[str, Any], count: int) -> Int[np.ndarray, " n"]:
        """The class of each of `count` images, positions in `values`.

        Arguments:
            named: what onnxruntime answers, by the name of the output.

        Raises:
            InputError: scores that are not finite, labels that are no class, or outputs of which none, or more than one, can be
                the answer.
        """
        answer = self._answer(named, count)
        if not isinstance(answer, Scores):
            return answer
        if answer.table.shape[1] > 1:
            return answer.order[answer.table.argmax(axis=1)]
        return answer.order[(answer.table[:, 0] > self._threshold(answer.output)).astype(np.int64)]

    def above(self, named: Mapping[str, Any], count: int, chosen: Sequence[int], threshold: float) -> Bool[np.ndarray, " n"]:
        """Whether the score of a class is above a threshold, for each of `count` images.

        Arguments:
            named: what onnxruntime answers, by the name of the output.
            chosen: the classes, positions in `values`; one of them suffices.
            threshold: of the scores as the network answers them. A single score is that of the second class; the first class is
                where it is not above.

        Raises:
            InputError: as `classes`, or answers without scores.
        """
        answer = self._answer(named, count)
        if not isinstance(answer, Scores):
            raise InputError(f"{self.option}-threshold needs scores, and {self.option} {self.file} answers labels alone")
        if answer.table.shape[1] > 1:
            return answer.table[:, np.isin(answer.order, chosen)].max(axis=1) > threshold
        return np.isin(answer.order[(answer.table[:, 0] > threshold).astype(np.int64)], chosen)

    def _answer(self, named: Mapping[str, Any], count: int) -> "Int[np.ndarray, ' n'] | Scores":
        """The classes where they are answered, else the scores; arguments and errors as of `classes`."""
        labels, scores = self._labels(named, count), self._scores(named, count)
        if not all(np.isfinite(found).all() for found, _ in scores.values()):
            raise InputError(f"{self.option} {self.file} answers NaN or infinity")
        if labels is not None and labels.dtype == object and (set(labels) <= set(self.values) or not (self.renamed and scores)):
            return self._of_names(labels)
        if len(scores) > 1:
            raise InputError(
                f"{self.option} {self.file} has {len(scores)} outputs that can be the answer: choose with "
                f"{self.option}-output, one of {', '.join(scores)}"
            )
        if scores:
            name, (found, order) = next(iter(scores.items()))
            if found.shape[1] > 1 or labels is None or self.threshold is not None:
                return Scores(name, found, order)
        if labels is None:
            shapes = ", ".join(f"{name} {_shape(answer)}" for name, answer in named.items())
            raise InputError(
                f"{self.option}-values must name the classes of {self.file}, which answers {count} images with {shapes}; "
                f"got {' '.join(self.values)}"
            )
        if labels.min() < 0 or labels.max() >= len(self.values):
            raise InputError(
                f"{self.option} {self.file} answers the label {labels.max() if labels.min() >= 0 else labels.min()}, and "
                f"{self.option}-values names {len(self.values)}, counted from 0: {' '.join(self.values)}"
            )
        return labels.astype(np.int64)

    def _labels(self, named: Mapping[str, Any], count: int) -> np.ndarray | None:
        """Predicted labels, names or integers (count,); None without them."""
        for answer in named.values():
            if isinstance(answer, np.ndarray) and answer.size == count and answer.dtype.kind in "OSUiub":
                found = answer.reshape(count)
                return np.array([_text(label) for label in found], object) if answer.dtype.kind in "OSU" else found
        return None

    def _scores(self, named: Mapping[str, Any], count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The outputs with a score for each class, or one score for two: (count, K) and the class of each column."""
        found, columns = {}, {}
        for name, answer in named.items():
            if isinstance(answer, list) and answer and isinstance(answer[0], Mapping):
                keys = list(answer[0])
                table = np.array([[row[key] for key in keys] for row in answer], np.float64)
                found[name] = table, self._order([_text(key) if isinstance(key, str | bytes) else key for key in keys])
            elif isinstance(answer, np.ndarray) and answer.dtype.kind == "f" and answer.shape[:1] == (count,):
                if answer.size == count and answer.ndim == 1:
                    columns[name] = answer
                table = answer.reshape(count, -1).astype(np.float64)
                # a map of scores has more than one for each class
                if table.shape[1] == max(answer.shape[1:], default=1) and self._fits(table.shape[1]):
                    found[name] = table, np.arange(len(self.values))
        # scikit-learn writes a column for each class as an output of its own, named by its label behind s or i
        kinds = {name[0] for name in columns}
        if len(columns) == len(self.values) and len(columns) > 1 and kinds in ({"s"}, {"i"}):
            keys = [name[1:] if kinds == {"s"} else int(name[1:]) for name in columns if kinds == {"s"} or name[1:].isdigit()]
            if len(keys) == len(columns):
                return {" ".join(columns): (np.stack(list(columns.values()), axis=1).astype(np.float64), self._order(keys))}
        return found

    def _fits(self, count: int) -> bool:
        return count == len(self.values) or (count == 1 and len(self.values) == 2)

    def _order(self, keys: Sequence[Any]) -> Int[np.ndarray, " k"]:
        """The class of each column of scores by label: by name, or in ascending order."""
        if len(keys) != len(self.values):
            raise InputError(
                f"{self.option}-values must name the {len(keys)} classes of {self.file}, {', '.join(map(str, keys))}; "
                f"got {' '.join(self.values)}"
            )
        if set(keys) == set(self.values):
            return np.array([self.values.index(key) for key in keys])
        if isinstance(keys[0], str) and not self.renamed:
            raise InputError(
                f"{self.option} {self.file} has the classes {', '.join(sorted(keys))}, not {', '.join(self.values)}: name them "
                f"in this order with {self.option}-values"
            )
        return np.argsort(np.argsort(np.array(keys)))

    def _of_names(self, labels: np.ndarray) -> Int[np.ndarray, " n"]:
        """The classes of labels that are names."""
        if unknown := sorted(set(labels) - set(self.values)):
            raise InputError(
                f"{self.option} {self.file} answers {', '.join(unknown)}, which is not among {', '.join(self.values)}; "
                f"{self.option}-values takes the names that it answers"
            )
        return np.array([self.values.index(label) for label in labels])

    def _threshold(self, name: str) -> float:
        threshold = self.thresholds.get(name) if self.threshold is None else self.threshold
        if threshold is None:
            raise InputError(
                f"{self.option}-threshold is needed: {self.file} answers one score, of the second class, and does not specify "
                "whether it is a probability (0.5) or a logit (0)"
            )
        return threshold


def _text(label: Any) -> Any:
    return label.decode() if isinstance(label, bytes) else str(label) if isinstance(label, str) else label


def _shape(answer: Any) -> str:
    return str(list(answer.shape)) if isinstance(answer, np.ndarray) else f"{type(answer).__name__} of {len(answer)}"
