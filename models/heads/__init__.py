"""How raw outputs become candidates: one file per head, named in one table.

Every head gives each place its best class only, so that one thing is one candidate before non-maximum suppression.
"""

from __future__ import annotations

from models import plugins
from models.heads.base import Head

GROUP = "detector_appliance.heads"
"""Entry-point group in which other packages offer heads."""

BUILT_IN = {
    "anchor_free": "models.heads.anchor_free:AnchorFree",
    "classification": "models.heads.classification:Classification",
    "detr": "models.heads.detr:Detr",
    "ssd_postprocessed": "models.heads.ssd_postprocessed:SsdPostprocessed",
    "ssd_raw": "models.heads.ssd_raw:SsdRaw",
    "yolo": "models.heads.yolo:Yolo",
}
"""Name in `model.json` -> where the class is. A new head is one file and one line here."""


def head(name: str) -> Head:
    """A new instance of the head called `name`: built in, or offered by an installed package.

    Raises `BundleError` where there is none of that name, `ModelFailed` where the package that offers it is broken.
    """
    found: Head = plugins.create(GROUP, BUILT_IN, name, needs=("decode", "needs_nms"))
    return found
