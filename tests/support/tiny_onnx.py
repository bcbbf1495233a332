"""ONNX models of a few hundred bytes: they give the same numbers for every picture, plus what its brightness adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
_TYPES = {
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
}


def write_onnx(
    path: Path,
    input_shape: tuple[int | str, ...],
    outputs: Mapping[str, NDArray[np.float32]],
    *,
    dtype: str = "float32",
    brightness: Mapping[str, float] | None = None,
) -> Path:
    """Write a model whose `outputs` are constants.

    `brightness`: output -> what is added to all of it, times the mean of the input.
    """
    nodes: list[Any] = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], keepdims=0),
    ]
    weights, declared = [], []
    for name, value in outputs.items():
        factor = np.float32((brightness or {}).get(name, 0.0))
        weights += [
            numpy_helper.from_array(np.asarray(value, np.float32), f"{name} constant"),
            numpy_helper.from_array(np.asarray(factor), f"{name} factor"),
        ]
        nodes += [
            helper.make_node("Mul", ["mean", f"{name} factor"], [f"{name} brightness"]),
            helper.make_node("Add", [f"{name} constant", f"{name} brightness"], [name]),
        ]
        declared.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    picture = helper.make_tensor_value_info("images", _TYPES[dtype], input_shape)
    graph = helper.make_graph(nodes, "tiny", [picture], declared, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def yolo_rows(size: int) -> int:
    """Rows of a YOLOv8 or YOLOX with a square input of `size` pixels."""
    return sum((size // stride) ** 2 for stride in (8, 16, 32))


def yolo_v8(size: int, classes: int, *found: tuple[float, float, float, float, int, float]) -> NDArray[np.float32]:
    """An output (1, 4 + classes, N) that holds `found`: cx, cy, width, height in pixels of the input, class, score."""
    output = np.zeros((1, 4 + classes, yolo_rows(size)), np.float32)
    output[0, :4, -1] = size  # as of a real one: coordinates are pixels, not shares
    for row, (cx, cy, width, height, number, score) in enumerate(found):
        output[0, :4, row] = cx, cy, width, height
        output[0, 4 + number, row] = score
    return output
