"""Training a network: the loop over epochs and steps, for whatever network and loss.

`fit` is read from top to bottom: prepare, go on from a checkpoint, and then step, agree, evaluate, write down, until time
or epochs are over, somebody asks to stop, or nothing gets better any more.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.errors import InvalidInput, ModelFailed
from networks.base import Network
from trainer_companion import checkpoints, job
from trainer_companion.augmentation import Augmentation
from trainer_companion.averaging import WeightAverage
from trainer_companion.batches import Batch, Batches
from trainer_companion.checkpoints import Checkpoint
from trainer_companion.dataset import Picture
from trainer_companion.evaluation import Evaluation, evaluate
from trainer_companion.hyperparameters import Hyperparameters
from trainer_companion.memory import GIB, AgainWithLess, OutOfMemory, out_of_memory
from trainer_companion.pixels import PictureStore
from trainer_companion.progress import Best, Progress, Warned
from trainer_companion.recipes import Session

DEFAULT_EPOCHS = 100
REFERENCE_BATCH = 16
"""Pictures a step for which the learning rate is meant; it grows with the square root of more."""

STEPS_BETWEEN_AGREEMENTS = 5
LARGEST_GRADIENT = 10.0
LOST_IN_A_ROW = 10
"""Steps without a finite gradient after which the training goes back: single ones are mixed precision feeling its way."""

MOST_RETURNS = 3
EVALUATION_SHARE = 0.1
"""Of the time, for looking at pictures that are held out."""

LAST_LEARNING_RATE = 0.01
"""What is left of the learning rate at the end, as a share."""

PLAIN_SHARE = 0.2
"""Of the training, at the end, sees no mosaics: no device ever will."""

Reason = Literal["epochs", "minutes", "patience", "stopped"]


@dataclass
class Learning:
    """What is fitted. `learner(pictures, boxes, classes)` is the loss; `learner.network` is the network in it.

    `learning_rates`: prefix of the names of weights -> share of the learning rate by which those learn; 1 for all others.
    """

    learner: nn.Module
    network: Network
    hyperparameters: Hyperparameters
    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    train_store: PictureStore
    held_out_store: PictureStore
    batch_size: int
    identity: str
    learning_rates: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Fitted:
    """How it ended, after how many epochs. `best`: what was said of the best model."""

    reason: Reason
    epochs: int
    best: Best


KeepBest = Callable[[Network, Evaluation, int], Best]
"""Writes the network as a bundle: network, evaluation, epochs -> what is said of it."""


def fit(session: Session, learning: Learning, keep_best: KeepBest) -> Fitted:
    """Train. Raises `ModelFailed` when the loss cannot be kept finite, `AgainWithLess` when memory is too small."""
    return _Fit(session, learning, keep_best).run()


class _Fit:
    def __init__(self, session: Session, learning: Learning, keep_best: KeepBest) -> None:
        self.session, self.learning, self.keep_best = session, learning, keep_best
        self.team, self.device, self.stopping = session.team, session.device, session.stopping
        self.hyper = learning.hyperparameters
        learning.learner.to(self.device)
        self.model: nn.Module = learning.learner
        if self.team.size > 1:  # before anything is made of the weights: only one process has adopted a base model's
            self.model = DistributedDataParallel(
                learning.learner,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )
        self.average = WeightAverage(learning.network, self.hyper.ema)
        self.optimizer = torch.optim.AdamW(
            _groups(learning.network, self.hyper.weight_decay, learning.learning_rates),
            lr=self.hyper.learning_rate,
            fused=self.device.type == "cuda",
        )
        self.precision, scaling = mixed_precision(self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaling)
        self.batches = Batches(
            learning.train_store,
            learning.train,
            learning.network.input.width,
            learning.network.input.height,
            seed=session.job.seed,
            augmentation=Augmentation(
                self.hyper.flip_horizontal, self.hyper.flip_vertical, self.hyper.zoom, self.hyper.colour
            ),
            mosaic_share=self.hyper.mosaic,
            rank=self.team.rank,
            size=self.team.size,
        )
        self.state = self._snapshot_of_nothing()
        self.path = session.folder / job.CHECKPOINT
        self._resume()
        self.good = self._snapshot()
        self.returns = self.lost_in_a_row = 0
        self.saved_at = self.said_at = self.stopping.elapsed  # each process's own: nobody waits for what follows
        self.window: list[Tensor] = []
        self.of_epoch: list[Tensor] = []
        self.epoch_loss: float | None = None
        self.pictures_seen = 0
        self.evaluation_seconds = 0.0
        self.evaluated_at = self.stopping.elapsed
        self.share = 0.0
        self.measured: Evaluation | None = None

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> Fitted:
        """See `fit`."""
        reason = self._agree()
        if reason is None and self.state.epoch >= self._epochs():
            reason = "epochs"
        while reason is None:
            reason = self._epoch()
            if reason is None and self.state.epoch >= self._epochs():
                reason = "epochs"
            # A training that was never evaluated has no model yet; whoever asks for the end wants one.
            if self._evaluation_is_due(reason):
                self._evaluate()
                if reason is None and self.hyper.patience and self.state.since_better >= self.hyper.patience:
                    reason = "patience"
            self._save()
            self._say_progress(reason)
        if self.state.best_epoch < 0:
            self._evaluate()
            self._save()
        return Fitted(reason, self.state.epoch, Best.model_validate_json(self.team.share(self.state.best)))

    def _epoch(self) -> Reason | None:
        """The rest of the epoch; why the training ends in the middle of it, if it does."""
        state = self.state
        threads = 2 if self.device.type == "cuda" else 0
        batches = self.batches.epoch(
            state.epoch, state.batch_size, state.step, threads=threads, plain=self.share >= 1 - PLAIN_SHARE
        )
        self.learning.learner.train()
        with contextlib.closing(batches):
            for batch in batches:
                if state.steps_done % STEPS_BETWEEN_AGREEMENTS == 0 and (reason := self._agree()) is not None:
                    return reason
                try:
                    finite = self._step(batch)
                except OutOfMemory:
                    self._halve()
                    return None
                if not finite and self._is_lost():
                    self._go_back()
                    return None
                state.step += 1
                state.steps_done += 1
        state.epoch, state.step = state.epoch + 1, 0
        if self.of_epoch:
            self.epoch_loss = float(self.team.mean(torch.stack(self.of_epoch).mean()))
        self.of_epoch = []
        return self._agree()

    def _step(self, batch: Batch) -> bool:
        """Look at a batch and learn. Whether loss and gradient were numbers; if not, nothing was learnt."""
        with out_of_memory():
            batch = batch.to(self.device)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
                loss: Tensor = self.model(batch.floats(), batch.boxes, batch.classes)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.learning.network.parameters(), LARGEST_GRADIENT)
        finite = bool(torch.isfinite(norm))  # the same in all processes: gradients have been exchanged
        if finite:
            self.scaler.step(self.optimizer)
            self.lost_in_a_row = 0
            self.window.append(loss.detach())
            self.of_epoch.append(loss.detach())
            self.pictures_seen += len(batch.pictures)
        else:
            self.lost_in_a_row += 1
            self.lost_in_a_row += LOST_IN_A_ROW * int(self.team.most((~torch.isfinite(loss.detach())).float()).item())
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if finite:
            self.average.update()
        return finite

    def _agree(self) -> Reason | None:
        """Come to the same decisions as the others: how far the training is, and whether it ends.

        Whatever follows from a clock must follow from the agreed one, where other processes have to take part in it.
        """
        mine = torch.tensor([float(self.stopping.requested), self.stopping.elapsed], dtype=torch.float64)
        stop, elapsed = self.team.most(mine.to(self.device) if self.team.size > 1 else mine).tolist()
        self.share = self._share_at(elapsed)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate() * group["share"]
        if stop:
            return "stopped"
        if self.stopping.seconds is not None and elapsed + self.evaluation_seconds >= self.stopping.seconds:
            return "minutes"
        if elapsed - self.saved_at >= checkpoints.SECONDS_BETWEEN:
            self._save()
            self.saved_at = elapsed
        if elapsed - self.said_at >= 1.0:
            self._say_progress(None)
            self.said_at = elapsed
        return None

    def _share_at(self, elapsed: float) -> float:
        steps = self.batches.steps(self.state.batch_size) * self._epochs()
        done = (self.state.epoch * self.batches.steps(self.state.batch_size) + self.state.step) / steps
        limit = self.stopping.seconds
        return min(1.0, max(done, 0.0 if limit is None else elapsed / max(limit - self.evaluation_seconds, 1e-9)))

    def _epochs(self) -> float:
        if self.hyper.epochs is not None:
            return self.hyper.epochs
        return math.inf if self.stopping.seconds is not None else DEFAULT_EPOCHS

    def _learning_rate(self) -> float:
        together = self.state.batch_size * self.team.size
        peak = self.hyper.learning_rate * math.sqrt(together / REFERENCE_BATCH) * self.state.lr_factor
        return peak * scheduled(self.share, self.hyper.warmup)

    # ── when something goes wrong ───────────────────────────────────────────────────────────────────────────────────

    def _is_lost(self) -> bool:
        return self.lost_in_a_row >= LOST_IN_A_ROW

    def _go_back(self) -> None:
        """Begin again where the loss was last known to be a number, with half the learning rate."""
        self.returns += 1
        self.lost_in_a_row = 0
        self.of_epoch = []
        if self.returns > MOST_RETURNS:
            raise ModelFailed(
                f"The loss is not a number, again and again, with {MOST_RETURNS} times half the learning rate too; "
                "the last good checkpoint is kept. Choose a lower learning_rate, or look for pictures with odd boxes."
            )
        factor = self.state.lr_factor / 2
        self._restore(self.good)
        self.state.lr_factor = factor
        self.session.say(
            Warned(
                message=f"The loss was not a number any more; the training goes on from epoch {self.state.epoch + 1}, "
                f"step {self.state.step + 1}, with {factor:g} times the learning rate."
            )
        )

    def _halve(self) -> None:
        """Go on with half the batch; several processes have to be started again for it."""
        before = self.state.batch_size
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if before == 1:
            raise InvalidInput("The memory is too small for a single picture; choose a smaller variant or resolution.")
        after = before // 2
        if self.team.size > 1:
            raise AgainWithLess(self.session.folder, after)
        self.session.say(Warned(message=f"Out of memory with {before} pictures a step; it goes on with {after}."))
        self.state.step = self.state.step * before // after
        self.state.batch_size = after

    # ── judging, and writing down ───────────────────────────────────────────────────────────────────────────────────

    def _evaluation_is_due(self, reason: Reason | None) -> bool:
        if reason is not None:
            return True
        since = self.stopping.elapsed - self.evaluated_at
        return self.team.share(since * EVALUATION_SHARE >= self.evaluation_seconds) and self.state.step == 0

    def _evaluate(self) -> None:
        started = time.monotonic()
        state = self.state
        measured = evaluate(
            self.average.network, self.learning.held_out_store, self.learning.held_out, self.team, self.device
        )
        state.evaluations += 1
        state.since_better += 1
        self.measured = measured
        if state.best_epoch < 0 or measured.rank > state.best_rank:
            state.since_better = 0
            state.best_epoch, state.best_rank = state.epoch, measured.rank
            if self.team.leads:
                best = self.keep_best(self.average.network, measured, state.epoch)
                state.best = best.model_dump_json()
                self.session.say(best)
        self.evaluation_seconds = self.team.share(time.monotonic() - started)
        self.evaluated_at = self.stopping.elapsed

    def _say_progress(self, reason: Reason | None) -> None:
        elapsed, loss = self.stopping.elapsed, self.epoch_loss
        if loss is None and self.window:
            loss = float(torch.stack(self.window).mean())
        seconds = max(elapsed - self.said_at, 1e-9)
        rate = self.pictures_seen * self.team.size / seconds if self.pictures_seen else None
        used = torch.cuda.max_memory_allocated(self.device) / GIB if self.device.type == "cuda" else None
        measured = self.measured
        left = elapsed / self.share * (1 - self.share) if self.share > 0.01 else None
        self.session.say(
            Progress(
                share=1.0 if reason else self.share,
                epoch=self.state.epoch,
                step=self.state.step,
                loss=loss,
                map50=None if measured is None or measured.accuracy is not None else measured.map50,
                accuracy=None if measured is None else measured.accuracy,
                images_per_second=rate,
                seconds_left=0.0 if reason else left,
                gpu_memory_gb=used,
            )
        )
        self.window, self.pictures_seen, self.said_at = [], 0, elapsed
        self.measured = self.epoch_loss = None

    def _save(self) -> None:
        """Write down where the training stands; what is written is known to be good."""
        self.good = self._snapshot()
        if self.team.leads:
            checkpoints.save(self.path, self.good)

    def _snapshot_of_nothing(self) -> Checkpoint:
        return Checkpoint(self.learning.identity, {}, {}, 0, {}, {}, batch_size=self.learning.batch_size)

    def _snapshot(self) -> Checkpoint:
        """A copy that further steps do not change."""
        state = Checkpoint(**vars(self.state))
        state.network = {
            name: value.detach().cpu().clone() for name, value in self.learning.network.state_dict().items()
        }
        state.average = {
            name: value.detach().cpu().clone() for name, value in self.average.network.state_dict().items()
        }
        state.average_steps = self.average.steps
        state.optimizer = _copied(self.optimizer.state_dict())
        state.scaler = self.scaler.state_dict()
        state.elapsed = self.stopping.elapsed
        return state

    def _resume(self) -> None:
        found = self.team.share(checkpoints.load(self.path, self.learning.identity) if self.team.leads else None)
        if found is not None:
            less = min(found.batch_size, self.learning.batch_size)
            found.step = found.step * found.batch_size // less
            found.batch_size = less
            self._restore(found)
            self.stopping.resume(found.elapsed)
            if found.best:  # whoever started the training may have been gone when it was said
                self.session.say(Best.model_validate_json(found.best))

    def _restore(self, good: Checkpoint) -> None:
        self.learning.network.load_state_dict(good.network)
        self.average.network.load_state_dict(good.average)
        self.average.steps = good.average_steps
        self.optimizer.load_state_dict(_copied(good.optimizer))
        self.scaler.load_state_dict(good.scaler)
        self.state = Checkpoint(**vars(good))


def scheduled(share: float, warmup: float) -> float:
    """Learning rate as a share of its peak, where the training is at `share` (0..1): up in a line, down by a cosine."""
    if share < warmup:
        return max(share / warmup, LAST_LEARNING_RATE)
    along = (share - warmup) / max(1 - warmup, 1e-9)
    return LAST_LEARNING_RATE + (1 - LAST_LEARNING_RATE) * (1 + math.cos(math.pi * along)) / 2


def mixed_precision(device: torch.device) -> tuple[torch.dtype | None, bool]:
    """In what the network computes beside float32 (None: nothing), and whether gradients have to be scaled for it."""
    if device.type != "cuda":
        return None, False
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, False
    return torch.float16, True


def _groups(network: Network, weight_decay: float, shares: Mapping[str, float]) -> list[dict[str, object]]:
    """Weights that are pulled to zero, and biases and normalization, which are not; by their share of the learning rate."""
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            prefix = next((each for each in shares if name.startswith(each)), "")
            groups.setdefault((prefix, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "share": shares.get(prefix, 1.0), "weight_decay": weight_decay if is_pulled else 0.0}
        for (prefix, is_pulled), parameters in groups.items()
    ]


def _copied(state: object) -> dict[str, object]:
    """The state of an optimizer, tensors cloned to the CPU."""

    def copy(value: object) -> object:
        if isinstance(value, Tensor):
            return value.detach().cpu().clone()
        if isinstance(value, dict):
            return {key: copy(each) for key, each in value.items()}
        if isinstance(value, list):
            return [copy(each) for each in value]
        return value

    copied = copy(state)
    assert isinstance(copied, dict)
    return copied
