"""From the picture (uint8 RGB, height x width x 3) to the tensor that a weight file declares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.bundle_format import InputSpec
from models.errors import ModelFailed


def to_tensor(
    image: NDArray[np.uint8], spec: InputSpec, dtype: np.dtype[np.generic], quantization: tuple[float, int] = (0.0, 0)
) -> NDArray[np.generic]:
    """One picture as a batch of one in layout, channel order and dtype of the weights.

    uint8 weights get the pixels as they are; float ones `pixel * scale + offset`; other integers that value quantized as
    the file says (`real = (q - zero_point) * step`), or, where the file says nothing, shifted to the dtype's range.
    """
    if spec.channels == "BGR":
        image = image[:, :, ::-1]
    if dtype == np.uint8:
        tensor: NDArray[np.generic] = image
    elif np.issubdtype(dtype, np.floating):
        scaled = image.astype(np.float32)
        scaled *= np.float32(spec.scale)
        scaled += np.float32(spec.offset)
        tensor = scaled.astype(dtype, copy=False)
    elif dtype == np.int8:
        tensor = _quantized(image, spec, quantization)
    else:
        raise ModelFailed(f"the weights want a picture as {dtype}; known are uint8, int8, float16 and float32")
    if spec.layout == "NCHW":
        tensor = tensor.transpose(2, 0, 1)
    return np.ascontiguousarray(tensor[np.newaxis])


def _quantized(image: NDArray[np.uint8], spec: InputSpec, quantization: tuple[float, int]) -> NDArray[np.generic]:
    step, zero_point = quantization
    if step == 0.0:
        return (image.astype(np.int16) - 128).astype(np.int8)
    # Only 256 different pixels exist: quantize those and look the rest up.
    real = np.arange(256, dtype=np.float32) * spec.scale + spec.offset
    table = np.clip(np.rint(real / step) + zero_point, -128, 127).astype(np.int8)
    looked_up: NDArray[np.generic] = table[image]
    return looked_up
