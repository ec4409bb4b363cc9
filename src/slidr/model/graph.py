"""Graphs: a network with its input scaling as one ONNX graph, the only form in which a model leaves training."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slidr.metrics import Float32s
from slidr.model.scaling import REACH, Scaling

OPSETS, IR_VERSION = {"": 18, "ai.onnx.ml": 3}, 9
"""The oldest that hold every operator used here, by domain, so that older runtimes load the graph."""

_LANES = 16  # floats in the widest vector register (AVX-512)


class Layer(NamedTuple):
    """A fully connected layer: weight float32[inputs, outputs] and bias float32[outputs]."""

    weight: Float32s
    bias: Float32s


LOGIT = "logit"
"""The value of a graph whose sigmoid is the score."""


class GraphBuilder:
    """Writes nodes of an ONNX graph whose input is `rows`, float32[n, F], and whose output is `score`, float32[n].

    A network whose score is the sigmoid of a number calls that number `LOGIT`, float32[n, 1]: it becomes an output too,
    by which decisions are explained where the score is too close to 0 or 1 to tell one click from another.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[Any]) -> str:
        """Store an array in the graph and return its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append an operator and return the name of its output."""
        output = output or f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def finish(self, names: tuple[str, ...], network: str) -> bytes:
        """Return the graph, checked and serialised; the same nodes give the same bytes."""
        outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])]
        if any(LOGIT in node.output for node in self._nodes):
            outputs.append(helper.make_tensor_value_info(LOGIT, TensorProto.FLOAT, ["n", 1]))
        graph = helper.make_graph(
            self._nodes,
            "slidr",
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", len(names)])],
            outputs,
            self._constants,
        )
        model = helper.make_model(
            graph,
            producer_name="slidr",
            opset_imports=[
                helper.make_opsetid(domain, OPSETS[domain])
                for domain in sorted({"", *(node.domain for node in self._nodes)})
            ],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, {"slidr.names": json.dumps(names), "slidr.network": network})
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def layers_graph(layers: tuple[Layer, ...], scaling: Scaling, names: tuple[str, ...], network: str) -> bytes:
    """Return the graph of scaling, fully connected layers with ReLU between them, and a sigmoid.

    Columns are padded with zeros to a multiple of 16 first: a runtime takes the logarithm of whole vector registers
    and of the rest with another routine, whose last bit differs, so that without padding a score would depend on its
    place in the batch.
    """
    graph = GraphBuilder()
    padding = -len(names) % _LANES
    rows = "rows"
    if padding:
        rows = graph.node("Pad", rows, graph.constant(np.array([0, 0, 0, padding])))
    logarithm = graph.node("Log", graph.node("Add", graph.node("Abs", rows), graph.constant(np.ones(1, np.float32))))
    squashed = graph.node("Mul", graph.node("Sign", rows), logarithm)
    centred = graph.node("Sub", squashed, graph.constant(np.pad(scaling.mean, (0, padding))))
    scaled = graph.node("Mul", centred, graph.constant(np.pad(scaling.inverse, (0, padding))))
    reach = np.float32(REACH)
    value = graph.node("Clip", scaled, graph.constant(np.array(-reach)), graph.constant(np.array(reach)))
    for depth, layer in enumerate(layers):
        weight = np.pad(layer.weight, ((0, padding), (0, 0))) if depth == 0 else layer.weight
        value = graph.node("Relu", value) if depth else value
        output = LOGIT if depth == len(layers) - 1 else ""
        value = graph.node("Gemm", value, graph.constant(weight), graph.constant(layer.bias), output=output)
    # onnxruntime's sigmoid of a large value is a bit above one.
    share = graph.node(
        "Clip", graph.node("Sigmoid", value), *(graph.constant(np.array(np.float32(end))) for end in (0, 1))
    )
    graph.node("Squeeze", share, graph.constant(np.array([1])), output="score")
    return graph.finish(names, network)
