"""What classifiers of whole pictures learn by: cross-entropy."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from networks.classifier import ClassifierNetwork

LABEL_SMOOTHING = 0.1
"""Share of a picture that counts for all classes alike (Szegedy et al. 2016): scores of a network that is never quite sure
tell more of its doubts, and a wrong label does less harm.
"""


class ClassifierLearner(nn.Module):
    """The network and its loss as one module, so that several processes exchange gradients by one wrapper around it.

    `forward(pictures, boxes, classes)` gives the loss, a scalar; the first of `classes` is the picture's, boxes are not
    looked at.
    """

    def __init__(self, network: ClassifierNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        del boxes
        logits = self.network.raw(pictures).float()
        return functional.cross_entropy(logits, classes[:, 0], label_smoothing=LABEL_SMOOTHING)
