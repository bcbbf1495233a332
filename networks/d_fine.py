"""The transformer family: D-FINE (Peng et al. 2024), as `transformers` has it. For Jetsons and graphics cards.

A convolutional backbone (HGNetV2), an encoder of features, and a decoder whose queries are one thing or nothing each: no
suppression of overlapping boxes is needed afterwards. The layers are those of the `transformers` library, so that weights
published for it can be taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from models.errors import BundleError
from networks.base import Network, input_spec

if TYPE_CHECKING:
    from transformers import DFineConfig

COARSEST_STRIDE = 32
QUERIES = 300
"""Things that one picture can hold, at most."""

RARE = 0.01
"""What every score begins as."""


class _Backbone(NamedTuple):
    """HGNetV2 in the sizes that D-FINE's authors chose; channels and blocks are those of its four stages."""

    stem: tuple[int, int, int]
    into: tuple[int, int, int, int]
    middle: tuple[int, int, int, int]
    out: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    layers_a_block: int
    affine: bool


class _Size(NamedTuple):
    """What the published networks differ in. `points`: where each head of the decoder looks, on each feature map."""

    backbone: _Backbone
    decoder_layers: int
    strides: tuple[int, ...] = (8, 16, 32)
    hidden: int = 256
    feed_forward: int = 1024
    points: tuple[int, ...] = (3, 6, 3)
    depth: float = 1.0
    expansion: float = 1.0


_SMALL_BACKBONE = _Backbone(
    stem=(3, 16, 16),
    into=(16, 64, 256, 512),
    middle=(16, 32, 64, 128),
    out=(64, 256, 512, 1024),
    blocks=(1, 1, 2, 1),
    layers_a_block=3,
    affine=True,
)
_MEDIUM_BACKBONE = _Backbone(
    stem=(3, 24, 32),
    into=(32, 96, 384, 768),
    middle=(32, 64, 128, 256),
    out=(96, 384, 768, 1536),
    blocks=(1, 1, 3, 1),
    layers_a_block=4,
    affine=True,
)
_LARGE_BACKBONE = _Backbone(
    stem=(3, 32, 48),
    into=(48, 128, 512, 1024),
    middle=(48, 96, 192, 384),
    out=(128, 512, 1024, 2048),
    blocks=(1, 1, 3, 1),
    layers_a_block=6,
    affine=False,
)

_SIZES = {
    "nano": _Size(
        _SMALL_BACKBONE,
        strides=(16, 32),
        hidden=128,
        feed_forward=512,
        decoder_layers=3,
        points=(6, 6),
        depth=0.5,
        expansion=0.34,
    ),
    "small": _Size(_SMALL_BACKBONE, decoder_layers=3, depth=0.34, expansion=0.5),
    "medium": _Size(_MEDIUM_BACKBONE, decoder_layers=4, depth=0.67),
    "large": _Size(_LARGE_BACKBONE, decoder_layers=6),
}


class DFineArchitecture(BaseModel):
    """What tells one D-FINE from another. `input_width`, `input_height`: pixels, multiples of 32."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Literal["nano", "small", "medium", "large"] = "small"
    input_width: int = Field(default=640, ge=64, le=1280)
    input_height: int = Field(default=640, ge=64, le=1280)

    @model_validator(mode="after")
    def _cells_fill_the_picture(self) -> DFineArchitecture:
        if self.input_width % COARSEST_STRIDE or self.input_height % COARSEST_STRIDE:
            raise ValueError(f"width and height of the input must be multiples of {COARSEST_STRIDE} pixels")
        return self


class DFineFamily:
    """See `networks.base.Family`."""

    name = "d_fine"

    def build(self, architecture: Mapping[str, Any], class_count: int) -> DFineNetwork:
        """See `networks.base.Family.build`."""
        try:
            checked = DFineArchitecture.model_validate(dict(architecture))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "architecture"
            raise BundleError(f"the D-FINE family cannot build this network: {where}: {first['msg']}") from error
        return DFineNetwork(checked, class_count)


class DFineNetwork(Network):
    """`boxes` (B, Q, 4): cx, cy, width, height as shares of the input; `logits` (B, Q, C). Q is `QUERIES`, or fewer where
    the input has fewer cells.
    """

    head = "detr"
    output_names = ("boxes", "logits")

    def __init__(self, architecture: DFineArchitecture, class_count: int) -> None:
        super().__init__()
        try:
            from transformers import DFineForObjectDetection
        except ImportError as error:
            raise BundleError(
                "the library 'transformers' that D-FINE needs is not installed: install detector-appliance with its "
                "extra 'trainer' or 'converter'"
            ) from error
        if class_count < 1:
            raise BundleError("a detector needs at least one category")
        self._architecture = architecture
        self.class_count = class_count
        self.input = input_spec(architecture.input_width, architecture.input_height)
        self.detector = DFineForObjectDetection(_config(architecture, class_count))

    @property
    def architecture(self) -> dict[str, Any]:
        return self._architecture.model_dump(mode="json")

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.detector(pixel_values=pictures)
        return outputs.pred_boxes, outputs.logits

    def loss(self, pictures: Tensor, things: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """The loss that D-FINE's authors trained with, as a mean over the things in `pictures`; a scalar.

        `things`: of each picture, boxes (N, 4) cx, cy, width, height as shares of the input and classes (N,). Raises
        ValueError where the network's outputs are no numbers any more.
        """
        labels = [{"boxes": boxes, "class_labels": classes} for boxes, classes in things]
        loss: Tensor = self.detector(pixel_values=pictures, labels=labels).loss
        if not any(len(classes) for _, classes in things):
            # What is learnt from noise around things has no part in it then, and processes that train together wait for
            # the gradient of every weight.
            loss = loss + 0.0 * self.detector.model.denoising_class_embed.weight.sum()
        return loss


def _config(architecture: DFineArchitecture, class_count: int) -> DFineConfig:
    """What `transformers` builds the network from; figures that are not named here are its defaults."""
    from transformers import DFineConfig, HGNetV2Config

    size = _SIZES[architecture.size]
    layers = size.backbone
    levels = len(size.strides)
    backbone: dict[str, Any] = dict(  # noqa: C408 # its keys are the names of arguments
        stem_channels=list(layers.stem),
        stage_in_channels=list(layers.into),
        stage_mid_channels=list(layers.middle),
        stage_out_channels=list(layers.out),
        hidden_sizes=list(layers.out),
        stage_num_blocks=list(layers.blocks),
        stage_numb_of_layers=[layers.layers_a_block] * 4,
        use_learnable_affine_block=layers.affine,
        out_indices=list(range(5 - levels, 5)),
    )
    cells = sum((architecture.input_width // stride) * (architecture.input_height // stride) for stride in size.strides)
    settings: dict[str, Any] = dict(  # noqa: C408 # see above
        num_labels=class_count,
        # Without it, it follows from the number of categories, and with few of them all queries begin as things.
        initializer_bias_prior_prob=RARE,
        backbone_config=HGNetV2Config(**backbone),
        freeze_backbone_batch_norms=False,  # its statistics have to be learnt where it begins from scratch
        encoder_in_channels=list(layers.out[-levels:]),
        encoder_hidden_dim=size.hidden,
        encoder_ffn_dim=size.feed_forward,
        encode_proj_layers=[levels - 1],
        feat_strides=list(size.strides),
        d_model=size.hidden,
        decoder_in_channels=[size.hidden] * levels,
        decoder_ffn_dim=size.feed_forward,
        decoder_layers=size.decoder_layers,
        decoder_n_points=list(size.points),
        num_feature_levels=levels,
        num_queries=min(QUERIES, cells),
        depth_mult=size.depth,
        hidden_expansion=size.expansion,
    )
    return DFineConfig(**settings)
