"""Fine-tuning of a model in its format, from labels, from another model's outputs, or both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.models.dataset import Sequences
from einchip.models.errors import ModelError
from einchip.models.extras import missing
from einchip.models.model import Model
from einchip.models.torch import TorchModel

try:
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax
except ImportError:
    raise missing("torch", "train") from None

#: Temperature at which a classifier's outputs are compared with its teacher's, and share of that
#: loss (Hinton, Vinyals and Dean, arXiv 1503.02531, section 2).
TEMPERATURE: Final = 2.0
TEACHER_SHARE: Final = 0.5

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Settings:
    """How to train. Everything random follows from `seed`.

    Attributes:
        epochs: passes over the data; 0 leaves the model as it is.
        rate: largest learning rate of AdamW, risen and lowered in one cycle.
        batch: sequences in one step.
        seed: of the order, of noise and dropout.
        decay: weight decay.
        noise, offset: standard deviations of noise on the input: at every value, and constant over
            a sequence. Not for tokens.
        dropout: share of the last state that is left out.
        smoothing: of labels.
        threads: of PyTorch.
    """

    epochs: int = 100
    rate: float = 0.005
    batch: int = 32
    seed: int = 1
    decay: float = 0.01
    noise: float = 0.0
    offset: float = 0.0
    dropout: float = 0.0
    smoothing: float = 0.0
    threads: int = 1


def finetune(
    model: Model,
    data: Sequences,
    settings: Settings,
    teacher: Model | None = None,
    progress: Progress | None = None,
) -> Model:
    """Return the model trained on for a fixed number of epochs; no selection of the best one.

    A model with output "last" learns the labels as classes; with a teacher, half of the loss is the
    divergence from its outputs. One with output "sequence" learns the teacher's outputs, by their
    mean square error. `progress` is called after each epoch with its number, from 1, and mean loss.

    Raises:
        ModelError: labels beyond the model's outputs, no teacher where one is needed, a teacher of
            other sizes, or training that ends in NaN or infinity.
    """
    _check(model, data, teacher)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    rng = torch.Generator().manual_seed(settings.seed)
    module = TorchModel.from_model(model, settings.dropout)
    batches = _Batches(data, settings, rng, teacher)
    if settings.epochs:
        _train(module, batches, settings, progress)
    return module.to_model()


def accuracy(model: Model, data: Sequences) -> float:
    """Return the share of sequences that a classifier names rightly, in float64."""
    found = model.run_batch(data.sequences).argmax(axis=1)
    return float(np.mean(found == data.labels))


def _check(model: Model, data: Sequences, teacher: Model | None) -> None:
    """Raise ModelError where model, data and teacher do not fit."""
    name, n_out = model.spec.name, model.spec.out_size
    if model.spec.output == "sequence" and teacher is None:
        raise ModelError(
            f"{name}: output: found sequence, expected last where labels are learnt; name the "
            "model whose outputs are learnt as teacher"
        )
    if model.spec.output == "last" and data.n_classes > n_out:
        raise ModelError(
            f"{name}: labels: found {data.n_classes} classes, expected at most its {n_out} outputs"
            "; give other data"
        )
    if teacher is not None:
        for what in ("input_size", "out_size", "output"):
            mine, other = getattr(model.spec, what), getattr(teacher.spec, what)
            if mine != other:
                raise ModelError(
                    f"{teacher.spec.name}: {what}: found {other}, expected {mine} as in {name}; "
                    "give another teacher"
                )


@dataclass(frozen=True)
class _Batch:
    x: Tensor
    lengths: Tensor
    labels: Tensor
    wanted: Tensor | None


class _Batches:
    """Padded batches in an order of its own in every epoch."""

    def __init__(
        self, data: Sequences, settings: Settings, rng: torch.Generator, teacher: Model | None
    ) -> None:
        self.sequences = [torch.from_numpy(np.asarray(s)) for s in data.sequences]
        self.labels = torch.from_numpy(data.labels)
        self.settings, self.rng = settings, rng
        self.wanted = None if teacher is None else _outputs(teacher, data.sequences)
        self.n = math.ceil(len(self.sequences) / settings.batch)

    def epoch(self) -> Iterator[_Batch]:
        order = torch.randperm(len(self.sequences), generator=self.rng).tolist()
        for k in range(self.n):
            yield self._batch(order[k * self.settings.batch : (k + 1) * self.settings.batch])

    def _batch(self, picks: Sequence[int]) -> _Batch:
        lengths = torch.tensor([len(self.sequences[k]) for k in picks])
        x = nn.utils.rnn.pad_sequence([self.sequences[k] for k in picks], batch_first=True)
        wanted = None
        if self.wanted is not None:
            wanted = nn.utils.rnn.pad_sequence([self.wanted[k] for k in picks], batch_first=True)
        return _Batch(self._noisy(x), lengths, self.labels[list(picks)], wanted)

    def _noisy(self, x: Tensor) -> Tensor:
        """Return the input with noise; tokens, and all without noise, as they are."""
        if not x.is_floating_point() or not (self.settings.noise or self.settings.offset):
            return x
        limit = float(x.abs().max())
        common = torch.randn(x.shape[0], 1, x.shape[2], generator=self.rng)
        x = x + self.settings.offset * common
        x = x + self.settings.noise * torch.randn(x.shape, generator=self.rng)
        return x.clamp(-limit, limit)


def _outputs(teacher: Model, sequences: Sequence[NDArray[Any]]) -> list[Tensor]:
    """Return a teacher's outputs: ``[n_out]``, or ``[n_steps, n_out]``, of each sequence."""
    rows = teacher.run_batch(sequences).astype(np.float32)
    if teacher.spec.output == "last":
        return list(torch.from_numpy(rows))
    cuts = np.cumsum([len(s) for s in sequences])[:-1]
    return [torch.from_numpy(part.copy()) for part in np.split(rows, cuts)]


def _train(
    module: TorchModel, batches: _Batches, settings: Settings, progress: Progress | None
) -> None:
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=settings.rate, weight_decay=settings.decay
    )
    n_steps = settings.epochs * batches.n
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=n_steps, pct_start=_rise(n_steps)
    )
    module.train()
    for epoch in range(1, settings.epochs + 1):
        total = 0.0
        for batch in batches.epoch():
            loss = _loss(module(batch.x, batch.lengths), batch, settings, module.spec.output)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        if progress is not None:
            progress(epoch, total / batches.n)


def _rise(n_steps: int) -> float:
    """Return the share of the steps in which the learning rate rises.

    It is a tenth. OneCycleLR divides by the steps of the rise less one: one step takes more.
    """
    return 0.2 if n_steps == 10 else 0.1


def _loss(found: Tensor, batch: _Batch, settings: Settings, output: str) -> Tensor:
    if output == "sequence":
        assert batch.wanted is not None
        alive = torch.arange(found.shape[1])[None, :] < batch.lengths[:, None]
        return (found - batch.wanted)[alive].square().mean()
    loss = cross_entropy(found, batch.labels, label_smoothing=settings.smoothing)
    if batch.wanted is None:
        return loss
    soft = softmax(batch.wanted / TEMPERATURE, dim=1)
    apart = kl_div(log_softmax(found / TEMPERATURE, dim=1), soft, reduction="batchmean")
    return (1 - TEACHER_SHARE) * loss + TEACHER_SHARE * TEMPERATURE**2 * apart
