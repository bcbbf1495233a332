"""How many pictures a step can take: found by trying, and less when memory turns out to be too small."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from models.errors import DetectorApplianceError
from networks.base import Network
from trainer_companion.lack_of_memory import lacks_memory

GIB = 2**30
"""Bytes of the unit in which a limit is given, as in learning-loop-node's trainers."""

MARGIN = 0.1
"""Of the memory, what trying leaves free: for fragments, more boxes than were tried, and the exchange of gradients."""

LIMIT = "checkpoints/batch_size"
"""File in the job's folder with the largest batch that may be tried again."""

ON_CPU = 8
ON_CARD = 64
"""Pictures a step and process at most, where nobody says."""


class OutOfMemory(Exception):
    """What was tried needs more memory than there is."""


class AgainWithLess(DetectorApplianceError):
    """The training has to be started again; it will go on from its checkpoint with a smaller batch."""

    def __init__(self, folder: Path, batch_size: int) -> None:
        path = folder / LIMIT
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(batch_size))
        super().__init__(
            f"Out of memory with {2 * batch_size} pictures a step; started again, the training goes on with {batch_size}."
        )


@contextlib.contextmanager
def out_of_memory() -> Iterator[None]:
    """Turns what PyTorch raises for a lack of memory, on a card or elsewhere, into `OutOfMemory`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if lacks_memory(error):
            raise OutOfMemory(str(error)) from error
        raise


def most_pictures(asked: int, folder: Path, device: torch.device) -> int:
    """The largest batch that may be tried: what was asked for (0: nobody did), or what was left after a failure."""
    most = asked or (ON_CARD if device.type == "cuda" else ON_CPU)
    with contextlib.suppress(OSError, ValueError):
        most = min(most, max(1, int((folder / LIMIT).read_text())))
    return most


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest of 1, 2, 4, … and `most` that fits; 0 where not even 1 does. Tries upwards, to the first failure."""
    best, size = 0, 1
    while size <= most:
        if not fits(size):
            return best
        best = size
        if size == most:
            break
        size = min(2 * size, most)
    return best


class Card:
    """The memory of a graphics card, as PyTorch in this process sees it; everything in bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def total(self) -> int:
        """What the card has."""
        return int(torch.cuda.get_device_properties(self._device).total_memory)

    def free(self) -> int:
        """What nobody uses, neither this process nor another."""
        return int(torch.cuda.mem_get_info(self._device)[0])

    def held(self) -> int:
        """What this process has taken from the card, used or not."""
        return int(torch.cuda.memory_reserved(self._device))

    def peak(self) -> int:
        """The most that was in use at once since `begin`."""
        return int(torch.cuda.max_memory_allocated(self._device))

    def begin(self) -> None:
        """Give back what is not in use, and measure the peak anew."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)

    def limit(self, limit_gb: float) -> None:
        """Have PyTorch take at most `limit_gb` GiB in this process; what goes beyond runs out of memory."""
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_gb * GIB / self.total()), self._device)


def room(card: Card, limit_gb: float | None) -> int:
    """Bytes that a training may use, with a margin: within the limit (GiB) and what other programs leave."""
    most = card.total() if limit_gb is None else limit_gb * GIB
    return int((1 - MARGIN) * min(most, card.free() + card.held()))


def kept_for_weights(network: nn.Module) -> int:
    """Bytes that training holds beside weights and gradients: AdamW's two means, of each weight that learns."""
    return 2 * sum(each.numel() * each.element_size() for each in network.parameters() if each.requires_grad)


def find_batch_size(
    learner: nn.Module,
    network: Network,
    device: torch.device,
    most: int,
    limit_gb: float | None,
    card: Card | None = None,
) -> int:
    """The largest batch up to `most` that a graphics card takes, within `limit_gb` GiB of its memory.

    Each size is tried with forward and backward on noise, in the precision of the training, beside room for what the
    optimizer will hold. On a CPU `most` is taken untried. `card`: that of `device`, unless told otherwise. Raises
    `OutOfMemory` where not even a single picture fits.
    """
    from trainer_companion.fitting import mixed_precision  # which has the loop, and needs this module for it

    if card is None:
        if device.type != "cuda":
            return most
        card = Card(device)
    if limit_gb is not None:
        card.limit(limit_gb)
    available = room(card, limit_gb) - kept_for_weights(network)
    with out_of_memory():  # on the card, where the mean of the weights will be later
        before = {name: value.clone() for name, value in network.state_dict().items()}
    spec = network.input
    precision, _ = mixed_precision(device)

    def fits(size: int) -> bool:
        card.begin()
        try:
            with out_of_memory():
                pictures = torch.rand(size, 3, spec.height, spec.width, device=device)
                boxes = torch.tensor([[[0.0, 0.0, spec.width / 2, spec.height / 2]] * 16] * size, device=device)
                classes = torch.zeros(size, 16, dtype=torch.int64, device=device)
                with torch.autocast(device.type, precision, enabled=precision is not None):
                    loss = learner(pictures, boxes, classes)
                loss.backward()
        except OutOfMemory:
            return False
        finally:
            learner.zero_grad(set_to_none=True)
        return card.peak() <= available

    try:
        found = largest(fits, most)
    finally:
        network.load_state_dict(before)  # normalization has seen noise
        del before
        card.begin()
    if found == 0:
        raise OutOfMemory("the graphics card's memory is too small for a single picture")
    return found
