"""What onnxruntime does not report of an ONNX file: the operation that computes an output, and the files of its weights.

An ONNX file is a protobuf message. Only the fields that are needed here are read, by their numbers in `onnx.proto`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FORWARDING = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"}
"""Operations that leave the numbers of their first input unchanged."""


@dataclass(frozen=True)
class OnnxGraph:
    """The top level of a graph.

    Attributes:
        nodes: for the name of each output of a node, the node's operation and the names of its inputs.
        external: the names of the files that hold weights, relative to the ONNX file.
    """

    nodes: Mapping[str, tuple[str, tuple[str, ...]]]
    external: tuple[str, ...]

    def operation(self, output: str) -> str:
        """The operation that computes the numbers of an output; empty if it is unknown.

        A sum of a product and its bias counts as the product.
        """
        return self._operation(output, set())

    def _operation(self, output: str, seen: set[str]) -> str:
        while output not in seen:  # a damaged graph may lead back to itself
            seen.add(output)
            operation, inputs = self.nodes.get(output, ("", ()))
            if operation in FORWARDING and inputs:
                output = inputs[0]
                continue
            if operation == "Add":
                products = [name for each in inputs if (name := self._operation(each, seen)) in ("MatMul", "Conv", "Gemm")]
                return products[0] if products else operation
            return operation
        return ""


def read(path: Path) -> OnnxGraph:
    """The graph of an ONNX file; empty for a file of another format that onnxruntime reads, such as .ort."""
    try:
        nodes, external = {}, {}
        for graph in _messages(memoryview(path.read_bytes()), 7):
            for node in _messages(graph, 1):
                operation = "".join(_texts(node, 4))
                inputs = tuple(_texts(node, 1))
                nodes |= {output: (operation, inputs) for output in _texts(node, 2)}
            for tensor in _messages(graph, 5):
                entries = [("".join(_texts(entry, 1)), "".join(_texts(entry, 2))) for entry in _messages(tensor, 13)]
                external |= {value: None for key, value in entries if key == "location"}
    except (IndexError, ValueError):
        return OnnxGraph({}, ())
    return OnnxGraph(nodes, tuple(external))


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The values of one field of a message: submessages or texts."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            _, place = _varint(message, place)
            continue
        if wire == 2:
            length, place = _varint(message, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + length > len(message):
            raise ValueError(f"a field of {length} bytes at {place} of {len(message)}")
        if wire == 2 and number == wanted:
            yield message[place : place + length]
        place += length


def _texts(message: memoryview, wanted: int) -> Iterator[str]:
    return (bytes(value).decode() for value in _messages(message, wanted))


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = shift = 0
    while shift < 70:  # a number has at most ten bytes
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError(f"a number of more than ten bytes at {place}")
