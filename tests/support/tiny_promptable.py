"""A promptable model of a few kilobytes, in Segment Anything's layout: what is bright and in the box is the thing.

The encoder keeps the brightness of the normalised picture, 64 pixels long. The decoder takes what lies between the
corners of the box (labels 2 and 3), is brighter than the mean of the pictures that such models are trained with, and is
not near a click that does not belong to it (label 0).
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser

_HEAD = '<ir_version: 9, opset_import: ["" : 17]>\n'

_ENCODER = """
encoder (float[1,3,64,64] x) => (float[1,1,64,64] embedding) {
    embedding = ReduceMean <axes = [1], keepdims = 1> (x)
}"""

_FREE_ENCODER = """
encoder (float[h,w,3] x) => (float[1,1,64,64] embedding) {
    first = Constant <value = int64[1] {0}> ()
    chw = Transpose <perm = [2, 0, 1]> (x)
    whole = Unsqueeze (chw, first)
    sizes = Shape (whole)
    longest = ReduceMax <keepdims = 1> (sizes)
    flat = Constant <value = int64[4] {0, 0, 1, 1}> ()
    longest_sides = Mul (flat, longest)
    square = Max (sizes, longest_sides)
    missing = Sub (square, sizes)
    begin = Constant <value = int64[4] {0, 0, 0, 0}> ()
    pads = Concat <axis = 0> (begin, missing)
    nchw = Pad (whole, pads)
    size = Constant <value = int64[4] {1, 3, 64, 64}> ()
    roi = Constant <value = float[0] {}> ()
    small = Resize <mode = "linear"> (nchw, roi, roi, size)
    mean = ReduceMean <axes = [1], keepdims = 1> (small)
    grey = Constant <value = float {118.0}> ()
    embedding = Sub (mean, grey)
}"""

_DECODER = """
decoder (float[1,1,64,64] image_embeddings, float[1,n,2] point_coords, float[1,n] point_labels,
         float[1,1,256,256] mask_input, float[1] has_mask_input, float[2] orig_im_size)
    => (float[1,2,h,w] masks, float[1,2] iou_predictions, float[1,1,256,256] low_res_masks) {
    low_res_masks = Identity (mask_input)
    zero = Constant <value = float {0.0}> ()
    one = Constant <value = float {1.0}> ()
    half = Constant <value = float {0.5}> ()
    side = Constant <value = float {SIDE}> ()
    longest = ReduceMax <keepdims = 0> (orig_im_size)
    scale = Div (side, longest)
    i0 = Constant <value = int64 {0}> ()
    i1 = Constant <value = int64 {1}> ()
    h = Gather (orig_im_size, i0)
    w = Gather (orig_im_size, i1)
    ys = Range (zero, h, one)
    xs = Range (zero, w, one)
    ysm = Add (ys, half)
    xsm = Add (xs, half)
    ysc = Mul (ysm, scale)
    xsc = Mul (xsm, scale)
    coarseness = Constant <value = float {COARSENESS}> ()
    ye = Div (ysc, coarseness)
    xe = Div (xsc, coarseness)
    rows = Cast <to = 7> (ye)
    columns = Cast <to = 7> (xe)
    some = Gather <axis = 2> (image_embeddings, rows)
    bright = Gather <axis = 3> (some, columns)
    px0 = Gather <axis = 2> (point_coords, i0)
    py0 = Gather <axis = 2> (point_coords, i1)
    to_points = Constant <value = int64[3] {-1, 1, 1}> ()
    px = Reshape (px0, to_points)
    py = Reshape (py0, to_points)
    label = Reshape (point_labels, to_points)
    to_rows = Constant <value = int64[3] {1, -1, 1}> ()
    to_columns = Constant <value = int64[3] {1, 1, -1}> ()
    y = Reshape (ysc, to_rows)
    x = Reshape (xsc, to_columns)
    two = Constant <value = float {2.0}> ()
    three = Constant <value = float {3.0}> ()
    reach = Constant <value = float {REACH}> ()
    is_first = Equal (label, two)
    is_last = Equal (label, three)
    is_not = Equal (label, zero)
    left = Less (x, px)
    above = Less (y, py)
    right = Greater (x, px)
    below = Greater (y, py)
    before = Or (left, above)
    behind = Or (right, below)
    dx0 = Sub (x, px)
    dy0 = Sub (y, py)
    dx = Abs (dx0)
    dy = Abs (dy0)
    near_x = Less (dx, reach)
    near_y = Less (dy, reach)
    near = And (near_x, near_y)
    out1 = And (is_first, before)
    out2 = And (is_last, behind)
    out3 = And (is_not, near)
    out12 = Or (out1, out2)
    out0 = Or (out12, out3)
    out = Cast <to = 1> (out0)
    is_out = ReduceMax <axes = [0], keepdims = 1> (out)
    hundred = Constant <value = float {100.0}> ()
    penalty = Mul (is_out, hundred)
    best = Sub (bright, penalty)
    worst = Neg (best)
    masks = Concat <axis = 1> (worst, best)
    iou_predictions = Constant <value = float[1,2] {0.2, 0.9}> ()
}"""


def write_promptable(folder: Path, *, free: bool = False) -> tuple[Path, Path]:
    """Encoder and decoder. `free`: the encoder takes a picture of any size, (height, width, 3) of 0..255."""
    side = 1024.0 if free else 64.0
    decoder = _DECODER.replace("SIDE", str(side))
    decoder = decoder.replace("COARSENESS", str(side / 64)).replace("REACH", str(3 * side / 64))
    return (
        write_model(folder / "encoder.onnx", _FREE_ENCODER if free else _ENCODER),
        write_model(folder / "decoder.onnx", decoder),
    )


def write_model(path: Path, text: str) -> Path:
    """A graph in ONNX's own notation, as a file."""
    model = onnx.parser.parse_model(_HEAD + text)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
