"""How many pictures fit, and what is said when they do not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from networks.base import family
from networks.edge import EdgeNetwork
from trainer_companion import fitting
from trainer_companion.memory import (
    GIB,
    MARGIN,
    AgainWithLess,
    Card,
    OutOfMemory,
    find_batch_size,
    kept_for_weights,
    largest,
    most_pictures,
    out_of_memory,
    room,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("room", "most", "expected"),
    [(64, 64, 64), (63, 64, 32), (5, 64, 4), (1, 64, 1), (0, 64, 0), (100, 48, 48), (40, 48, 32)],
)
def test_sizes_are_tried_upwards_and_never_beyond_the_first_failure(room: int, most: int, expected: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= room

    assert largest(fits, most) == expected
    assert tried == sorted(set(tried))
    assert sum(size > room for size in tried) <= 1
    assert max(tried) <= most


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_every_way_to_run_out_of_memory_is_one(error: Exception) -> None:
    with pytest.raises(OutOfMemory), out_of_memory():
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shape"), out_of_memory():
        raise RuntimeError("shape mismatch")


def test_several_processes_are_started_again_with_less(tmp_path: Path) -> None:
    assert most_pictures(0, tmp_path, CPU) == 8
    assert most_pictures(32, tmp_path, CPU) == 32
    error = AgainWithLess(tmp_path, 4)
    assert "goes on with 4" in str(error)
    assert most_pictures(32, tmp_path, CPU) == 4


class SmallCard(Card):
    """One of `size` bytes, of which others use some. Each picture that `Learner` is shown takes `PICTURE` bytes."""

    def __init__(self, size: int, others: int = 0) -> None:
        self.size, self.others = size, others
        self.limits: list[float] = []
        self.used = 0

    def total(self) -> int:
        return self.size

    def free(self) -> int:
        return self.size - self.others

    def held(self) -> int:
        return 0

    def peak(self) -> int:
        return self.used

    def begin(self) -> None:
        self.used = 0

    def limit(self, limit_gb: float) -> None:
        self.limits.append(limit_gb)


PICTURE = GIB // 8


class Learner(nn.Module):
    """Runs the network, and takes memory of the card; beyond its size it raises what PyTorch raises."""

    def __init__(self, network: EdgeNetwork, card: SmallCard) -> None:
        super().__init__()
        self.network, self.card = network, card
        self.tried: list[int] = []
        self.precisions: set[torch.dtype | None] = set()

    def forward(self, pictures: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        assert boxes.shape == (len(pictures), 16, 4)
        assert classes.shape == (len(pictures), 16)
        self.tried.append(len(pictures))
        self.precisions.add(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None)
        if len(pictures) * PICTURE > self.card.free():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        self.card.used = len(pictures) * PICTURE
        return self.network(pictures[:2])[0].float().mean()  # type: ignore[no-any-return]


@pytest.fixture
def network() -> EdgeNetwork:
    built = family("edge").build({"input_width": 64, "input_height": 64, "width": 0.5}, 2)
    assert isinstance(built, EdgeNetwork)
    return built.train()


@pytest.mark.parametrize(
    ("size", "others", "limit_gb", "expected"),
    [
        pytest.param(16 * GIB, 0, None, 64, id="room for all"),
        pytest.param(8 * GIB, 0, None, 32, id="64 would fill it to the last byte"),
        pytest.param(16 * GIB, 0, 2.5, 16, id="a limit"),
        pytest.param(16 * GIB, 0, 2.2, 8, id="16 would be within the limit, but not within the margin"),
        pytest.param(8 * GIB, 7 * GIB, None, 4, id="another program"),
        pytest.param(8 * GIB, 7 * GIB, 6.0, 4, id="another program leaves less than the limit"),
    ],
)
def test_the_batch_fits_into_card_and_limit_with_a_margin(
    network: EdgeNetwork, size: int, others: int, limit_gb: float | None, expected: int
) -> None:
    card = SmallCard(size, others)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learner = Learner(network, card)
    assert find_batch_size(learner, network, CPU, 64, limit_gb, card) == expected
    assert card.limits == ([] if limit_gb is None else [limit_gb])
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_card_without_room_for_one_picture_is_too_small(network: EdgeNetwork) -> None:
    card = SmallCard(GIB // 16)
    with pytest.raises(OutOfMemory, match="single picture"):
        find_batch_size(Learner(network, card), network, CPU, 64, None, card)


def test_what_the_optimizer_will_hold_is_kept_free(network: EdgeNetwork) -> None:
    weights = sum(each.numel() for each in network.parameters())
    assert kept_for_weights(network) == 2 * 4 * weights
    exactly = int((4 * PICTURE + kept_for_weights(network)) / (1 - MARGIN))
    for size, expected in ((exactly + 16, 4), (exactly - 16, 2)):
        card = SmallCard(size)
        assert find_batch_size(Learner(network, card), network, CPU, 4, None, card) == expected


def test_it_is_tried_in_the_precision_of_the_training(network: EdgeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in (None, torch.bfloat16):
        monkeypatch.setattr(fitting, "mixed_precision", lambda device, precision=precision: (precision, False))
        card = SmallCard(16 * GIB)
        learner = Learner(network, card)
        find_batch_size(learner, network, CPU, 2, None, card)
        assert learner.precisions == {precision}


def test_a_card_is_asked_and_limited_in_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8 * GIB))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: GIB)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: shares.append((share, device))
    )
    device = torch.device("cuda", 1)
    card = Card(device)
    card.limit(2.0)
    card.limit(100.0)
    assert shares == [(0.25, device), (1.0, device)]
    assert room(card, None) == int(0.9 * 6 * GIB)
    assert room(card, 2.0) == int(0.9 * 2 * GIB)


def test_on_a_cpu_nothing_is_tried(network: EdgeNetwork) -> None:
    learner = Learner(network, SmallCard(0))
    assert find_batch_size(learner, network, CPU, 8, 1.0) == 8
    assert learner.tried == []
