"""ONNX files of classifiers whose answers are known functions of the image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
FLOAT = TensorProto.FLOAT
RED_OR_GREEN = ((0.0, 1.0), (1.0, 0.0), (0.0, 0.0))
"""Scores (green, red) of the mean colour (3, 2)."""


def constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def node(operation: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; names are separated by spaces."""
    return helper.make_node(operation, inputs.split(), outputs.split(), **attributes)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    shape: Sequence[int | str | None],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    kind: int = FLOAT,
    external: bool = False,
) -> Path:
    """A file of one input `x`, checked by `onnx`."""
    given = helper.make_tensor_value_info("x", kind, shape)
    graph = helper.make_graph(list(nodes), "classifier", [given], list(outputs), list(constants))
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path, save_as_external_data=external, size_threshold=0, location=f"{path.name}.data")
    return path


def mean_colour(axes: Sequence[int], kind: int = FLOAT) -> list[onnx.NodeProto]:
    """From x to `colour`, the mean over pixels of each channel, in float32."""
    return [node("Cast", "x", "pixels", to=FLOAT), node("ReduceMean", "pixels", "colour", axes=list(axes), keepdims=0)]


def scores(shape: Sequence[int | str | None], name: str = "y", kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def redder_than_green(
    path: Path,
    *,
    shape: Sequence[int | str | None] = ("N", 3, 4, 4),
    axes: Sequence[int] = (2, 3),
    kind: int = FLOAT,
    behind: Sequence[onnx.NodeProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    constants: Sequence[onnx.TensorProto] = (),
    weights: Any = RED_OR_GREEN,
    external: bool = False,
) -> Path:
    """Scores (green, red) of the mean colour: the second class where red is above green; `behind` them further nodes from y."""
    weights = np.asarray(weights, np.float32)
    nodes = [*mean_colour(axes), node("MatMul", "colour weights", "y"), *behind]
    outputs = outputs or [scores((shape[0], weights.shape[1]))]
    return save(
        path, nodes, shape=shape, outputs=outputs, constants=[constant("weights", weights), *constants], kind=kind,
        external=external,
    )  # fmt: skip
