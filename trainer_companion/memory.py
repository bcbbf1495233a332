"""How many pictures a step can take: found by trying, and less when memory turns out to be too small."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from models.errors import DetectorApplianceError
from networks.base import Network

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
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
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


def find_batch_size(
    learner: nn.Module, network: Network, device: torch.device, most: int, limit_gb: float | None
) -> int:
    """The largest batch up to `most` that a graphics card takes, within `limit_gb` GB of its memory.

    Each size is tried with forward and backward on noise. On a CPU `most` is taken untried. Raises `OutOfMemory` where
    not even a single picture fits.
    """
    if device.type != "cuda":
        return most
    total = torch.cuda.get_device_properties(device).total_memory
    if limit_gb is not None:
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_gb * 1e9 / total), device)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    spec = network.input

    def fits(size: int) -> bool:
        try:
            with out_of_memory():
                pictures = torch.rand(size, 3, spec.height, spec.width, device=device)
                boxes = torch.tensor([[[0.0, 0.0, spec.width / 2, spec.height / 2]] * 16] * size, device=device)
                classes = torch.zeros(size, 16, dtype=torch.int64, device=device)
                learner(pictures, boxes, classes).backward()
        except OutOfMemory:
            return False
        finally:
            learner.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        return True

    try:
        found = largest(fits, most)
    finally:
        network.load_state_dict(before)  # normalization has seen noise
    if found == 0:
        raise OutOfMemory("the graphics card's memory is too small for a single picture")
    return found
