"""The networks that a person can choose from."""

from __future__ import annotations

from trainer_companion.network_recipe import Variant

EDGE_VARIANTS = (
    Variant(
        "edge-residual-128",
        "Edge, tiny (128 px)",
        "Plain residual network, 0.3 million weights: large things in small pictures, trained within minutes on a CPU.",
        {"backbone": "residual", "width": 1.0, "blocks": 1},
        128,
    ),
    Variant(
        "edge-residual-320",
        "Edge, small (320 px)",
        "Plain residual network, 0.6 million weights: for a Raspberry Pi without accelerator.",
        {"backbone": "residual", "width": 1.0, "blocks": 2},
        320,
    ),
    Variant(
        "edge-residual-512",
        "Edge, medium (512 px)",
        "Plain residual network, 2.4 million weights: for a Coral or a faster computer, and for smaller things.",
        {"backbone": "residual", "width": 2.0, "blocks": 2},
        512,
    ),
    Variant(
        "edge-mobilenet-320",
        "Edge MobileNetV2 0.5 (320 px)",
        "MobileNetV2 at half its width: fewest operations a picture; learns more slowly than the residual networks.",
        {"backbone": "mobilenet_v2", "width": 0.5},
        320,
    ),
    Variant(
        "edge-mobilenet-512",
        "Edge MobileNetV2 1.0 (512 px)",
        "MobileNetV2 at its full width: for a Coral, with many pictures to learn from.",
        {"backbone": "mobilenet_v2", "width": 1.0},
        512,
    ),
)

D_FINE_VARIANTS = (
    Variant(
        "d-fine-nano-640",
        "D-FINE, nano (640 px)",
        "Transformer, 3.7 million weights: for a Jetson Nano or Orin Nano.",
        {"size": "nano"},
        640,
    ),
    Variant(
        "d-fine-small-640",
        "D-FINE, small (640 px)",
        "Transformer, 10 million weights: for a Jetson Orin; small things, and things that touch each other.",
        {"size": "small"},
        640,
    ),
    Variant(
        "d-fine-medium-640",
        "D-FINE, medium (640 px)",
        "Transformer, 19 million weights: for a Jetson AGX or a graphics card.",
        {"size": "medium"},
        640,
    ),
    Variant(
        "d-fine-large-640",
        "D-FINE, large (640 px)",
        "Transformer, 31 million weights: for a graphics card.",
        {"size": "large"},
        640,
    ),
)
"""All want a graphics card for their training, and many pictures where they begin from scratch."""

CLASSIFIER_VARIANTS = (
    Variant(
        "edge-classify-128",
        "Edge classifier, tiny (128 px)",
        "One class a picture. Plain residual network, 0.6 million weights: trained within minutes on a CPU.",
        {"backbone": "residual", "width": 1.0, "blocks": 1},
        128,
    ),
    Variant(
        "edge-classify-224",
        "Edge classifier, small (224 px)",
        "One class a picture. Plain residual network, 1.0 million weights: for details that 128 pixels do not show.",
        {"backbone": "residual", "width": 1.0, "blocks": 2},
        224,
    ),
    Variant(
        "edge-classify-mobilenet-224",
        "Edge classifier MobileNetV2 (224 px)",
        "One class a picture. MobileNetV2 at its full width: for a Coral, with many pictures to learn from.",
        {"backbone": "mobilenet_v2", "width": 1.0},
        224,
    ),
)
"""One class for a picture as a whole, not boxes."""

DEFAULT = "edge-residual-320"
