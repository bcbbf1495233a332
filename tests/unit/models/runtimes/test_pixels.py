"""From the picture to the tensor, against the plain definition of each layout and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from models.bundle_format import InputSpec
from models.errors import ModelFailed
from models.runtimes.pixels import to_tensor

PICTURE: NDArray[np.uint8] = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14


def spec(**keys: Any) -> InputSpec:
    return InputSpec.model_validate({"width": 3, "height": 2, **keys})


def plain(picture: NDArray[np.uint8], given: InputSpec) -> list[list[list[list[float]]]]:
    """`pixel * scale + offset` for every pixel, in the layout and channel order of the weights; loops and nothing else."""
    height, width = picture.shape[:2]
    order = [0, 1, 2] if given.channels == "RGB" else [2, 1, 0]
    value = {
        (y, x, c): float(picture[y, x, order[c]]) * given.scale + given.offset
        for y in range(height)
        for x in range(width)
        for c in range(3)
    }
    if given.layout == "NHWC":
        return [[[[value[y, x, c] for c in range(3)] for x in range(width)] for y in range(height)]]
    return [[[[value[y, x, c] for x in range(width)] for y in range(height)] for c in range(3)]]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_every_layout_channel_order_and_dtype(layout: str, channels: str, dtype: str) -> None:
    given = spec(layout=layout, channels=channels, dtype=dtype)
    tensor = to_tensor(PICTURE, given, np.dtype(dtype))
    assert tensor.dtype == np.dtype(dtype)
    assert tensor.flags.c_contiguous
    assert tensor.tolist() == plain(PICTURE, given)


def test_float_weights_get_scaled_pixels() -> None:
    given = spec(dtype="float32", scale=2 / 255, offset=-1.0)
    tensor = to_tensor(PICTURE, given, np.dtype(np.float32))
    np.testing.assert_allclose(tensor.astype(np.float64), np.array(plain(PICTURE, given)), rtol=0, atol=1e-6)
    assert to_tensor(np.full((2, 3, 3), 255, np.uint8), given, np.dtype(np.float32)).max() == 1.0


def test_uint8_weights_get_the_pixels_as_they_are_whatever_the_scale() -> None:
    tensor = to_tensor(PICTURE, spec(scale=0.5, offset=3.0), np.dtype(np.uint8))
    assert np.array_equal(tensor[0], PICTURE)


def test_int8_weights_that_say_nothing_get_shifted_pixels() -> None:
    tensor = to_tensor(PICTURE, spec(dtype="int8"), np.dtype(np.int8))
    assert tensor.tolist() == (PICTURE.astype(int)[np.newaxis] - 128).tolist()


@given(
    picture=arrays.arrays(np.uint8, (2, 3, 3)),
    scale=st.sampled_from([1.0, 1 / 255, 1 / 127.5]),
    offset=st.sampled_from([0.0, -1.0]),
    step=st.floats(0.002, 2.0),
    zero_point=st.integers(-128, 127),
)
@settings(max_examples=50)
def test_int8_weights_that_say_how_they_are_quantized(
    picture: NDArray[np.uint8], scale: float, offset: float, step: float, zero_point: int
) -> None:
    given = spec(dtype="int8", scale=scale, offset=offset)
    tensor = to_tensor(picture, given, np.dtype(np.int8), (step, zero_point))
    exact = (picture.astype(np.float64) * scale + offset) / step + zero_point
    assert tensor.dtype == np.int8
    # Half a step is the error of any rounding; float32 adds a little where a value lies just between two steps.
    assert np.all(np.abs(tensor[0].astype(float) - np.clip(exact, -128, 127)) <= 0.5 + 1e-3)


def test_the_picture_itself_is_left_alone() -> None:
    before = PICTURE.copy()
    to_tensor(PICTURE, spec(dtype="float32", scale=0.0, channels="BGR"), np.dtype(np.float32))
    assert np.array_equal(PICTURE, before)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.bool_])
def test_other_dtypes_are_refused(dtype: type[np.generic]) -> None:
    with pytest.raises(ModelFailed, match=rf"want a picture as {np.dtype(dtype)}; known are uint8, int8, float16"):
        to_tensor(PICTURE, spec(), np.dtype(dtype))
