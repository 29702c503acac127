"""Smaller weights of an ONNX graph. What is computed stays in float32, so scores and maps stay near."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import onnx_ir
from onnx_ir import Value

Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

LEAST_VALUES = 1024  # smaller weights, such as biases and norms, stay as they are
LARGEST = 127  # of int8


def compress(graph: onnx_ir.Graph, precision: Precision) -> None:
    """
    Stores the weights of matrix products and convolutions as `float16` or as `int8`, in place. The graph makes float32
    numbers of them before it uses them, which runtimes do once, when they load it, or fuse with the product.

    int8 is symmetric, with one scale for each output of a product, and for each filter of a convolution.
    """
    if precision == "float32":
        return
    store = _as_float16 if precision == "float16" else _as_int8
    for value in list(graph.initializers.values()):
        users = {(user.op_type, index) for user, index in value.uses()}
        if value.const_value is None or value.const_value.size < LEAST_VALUES:
            continue
        if users <= {("MatMul", 1), ("Gemm", 1), ("Conv", 1)} and value.const_value.dtype == onnx_ir.DataType.FLOAT:
            _replace(graph, value, store)


Store = Callable[[np.ndarray, int, str], tuple[onnx_ir.Node, list[onnx_ir.Tensor]]]


def _replace(graph: onnx_ir.Graph, value: Value, store: Store) -> None:
    assert value.name is not None
    assert value.const_value is not None
    users = list(value.uses())
    node, tensors = store(value.const_value.numpy(), _output_axis(*users[0]), value.name)
    inputs = [onnx_ir.Value(name=tensor.name, shape=tensor.shape, const_value=tensor) for tensor in tensors]
    for new in inputs:
        new.dtype = new.const_value.dtype  # type: ignore[union-attr]
        graph.register_initializer(new)
    for index, new in enumerate(inputs):
        node.replace_input_with(index, new)
    output = node.outputs[0]
    output.name, output.shape, output.dtype = f"{value.name}.float32", value.shape, onnx_ir.DataType.FLOAT
    graph.insert_before(next(iter(graph)), node)
    for user, index in users:
        user.replace_input_with(index, output)
    graph.initializers.pop(value.name)


def _output_axis(user: onnx_ir.Node, _: int) -> int:
    """The axis of a weight along which a product's outputs lie."""
    transposed = "transB" in user.attributes and user.attributes["transB"].as_int()
    return 0 if user.op_type == "Conv" or transposed else -1


def _as_float16(weights: np.ndarray, _: int, name: str) -> tuple[onnx_ir.Node, list[onnx_ir.Tensor]]:
    largest = np.finfo(np.float16).max
    half = onnx_ir.Tensor(weights.clip(-largest, largest).astype(np.float16), name=f"{name}.float16")
    return onnx_ir.node("Cast", [None], {"to": onnx_ir.DataType.FLOAT}), [half]


def _as_int8(weights: np.ndarray, axis: int, name: str) -> tuple[onnx_ir.Node, list[onnx_ir.Tensor]]:
    axis %= weights.ndim
    others = tuple(index for index in range(weights.ndim) if index != axis)
    scales = np.abs(weights).max(axis=others, keepdims=True).astype(np.float32) / LARGEST
    scales[scales == 0] = 1
    levels = np.rint(weights / scales).astype(np.int8)
    tensors = [
        onnx_ir.Tensor(levels, name=f"{name}.int8"),
        onnx_ir.Tensor(scales.reshape(-1), name=f"{name}.scales"),
    ]
    return onnx_ir.node("DequantizeLinear", [None, None], {"axis": axis}), tensors
