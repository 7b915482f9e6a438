#!/usr/bin/env python3
"""Train a dense, an MPO and an MPS LSTM on the Japanese Vowels speakers, ready for 8 bits.

    python examples/japanese_vowels/train.py                    # all three, all of the train set
    python examples/japanese_vowels/train.py --validate 6       # hold out 6 utterances per speaker

Needs PyTorch. Each model is trained in its own format from random cores: first in float, then with
8-bit fake quantisation (power-of-two scale per tensor, straight-through gradient) of cores, input,
hidden state, biases, every intermediate of the contraction, gate pre-activations, head and logits
(cell state: 16 bits; sigmoid and tanh: exact). The test set is read once, after training.
Files written: `{dense,mpo,mps}.safetensors` and `results.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from einchip.models import Model, ModelSpec, Sequences, load_npz, n_weights, save_model
from einchip.models.formats import MatrixNetwork, core_shapes, matrix_network
from einchip.models.spec import MatrixSpec

HERE = Path(__file__).parent
HIDDEN = 64
MATRICES = {
    "dense": {"input": {"format": "dense"}, "hidden": {"format": "dense"}},
    "mpo": {
        "input": {
            "format": "mpo",
            "in_modes": [3, 2, 2],
            "out_modes": [16, 4, 4],
            "ranks": [1, 8, 4, 1],
        },
        "hidden": {
            "format": "mpo",
            "in_modes": [4, 4, 4],
            "out_modes": [16, 4, 4],
            "ranks": [1, 8, 4, 1],
        },
    },
    "mps": {
        "input": {
            "format": "mps",
            "in_modes": [12],
            "out_modes": [16, 4, 4],
            "ranks": [1, 8, 8, 8, 1],
        },
        "hidden": {
            "format": "mps",
            "in_modes": [4, 16],
            "out_modes": [16, 4, 4],
            "ranks": [1, 8, 4, 16, 8, 1],
        },
    },
}


class _Round(torch.autograd.Function):
    """Round half to even and saturate; the gradient passes where nothing saturates."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: float, top: int) -> Tensor:
        q = torch.round(x / scale)
        ctx.save_for_backward((q >= -top) & (q <= top - 1))
        return q.clamp_(-top, top - 1) * scale

    @staticmethod
    def backward(ctx, grad: Tensor):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None


class Quantiser(nn.Module):
    """Fixed point with a power-of-two scale that follows the largest magnitude seen."""

    def __init__(self, n_bits: int = 8) -> None:
        super().__init__()
        self.top = 2 ** (n_bits - 1)
        self.largest = 0.0
        self.mode = "off"  # "off", "track" (decaying maximum), "calibrate" (maximum), "fixed"

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "off":
            return x
        if self.mode != "fixed":
            decay = 0.998 if self.mode == "track" else 1.0
            self.largest = max(self.largest * decay, float(x.detach().abs().max()))
        exponent = math.ceil(math.log2(max(self.largest, 2**-20) / (self.top - 1)))
        return _Round.apply(x, 2.0**exponent, self.top)


class Matrix(nn.Module):
    """A weight matrix in its format, applied core by core with quantised intermediates."""

    def __init__(self, spec: MatrixSpec, rng: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        shapes = core_shapes(spec)
        bonds = math.prod(spec.ranks) if spec.ranks else 1
        std = (1.0 / (spec.in_size * bonds)) ** (0.5 / len(shapes))
        self.cores = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(s, generator=rng) * std) for k, s in shapes.items()}
        )
        network = matrix_network(spec)
        letters = {index: chr(ord("a") + k) for k, index in enumerate(network.sizes)}
        terms = ["".join(letters[i] for i in ix) for ix in network.tensors.values()]
        out = "".join(letters[i] for i in network.outputs + network.inputs)
        self.dense_text = ",".join(terms) + "->" + out
        # Sweeps: the cores in the order in which the vector is contracted with them. An MPS starts
        # at its input cores; an MPO may start at either end, and training alternates.
        names = list(network.tensors)
        first, last = {"first_core_first": names}, {"last_core_first": names[::-1]}
        self.sweeps = {"dense": {"dense": names}, "mpo": first | last, "mps": last}[spec.format]
        self.plans = [self._plan(network, sweep) for sweep in self.sweeps.values()]
        self.core_q = nn.ModuleDict({k: Quantiser() for k in shapes})
        self.step_q = nn.ModuleList(nn.ModuleList(Quantiser() for _ in p) for p in self.plans)

    @staticmethod
    def _plan(network: MatrixNetwork, sweep: list[str]) -> list[tuple[str, str]]:
        """Return, core by core, its name and the einsum text of its step (``z`` is the batch)."""
        letters = {index: chr(ord("a") + k) for k, index in enumerate(network.sizes)}
        plan, state = [], list(network.inputs)
        for k, name in enumerate(sweep):
            later = {i for n in sweep[k + 1 :] for i in network.tensors[n]} | set(network.outputs)
            both = state + [i for i in network.tensors[name] if i not in state]
            new = [i for i in both if i in later]
            if k == len(sweep) - 1:
                new = list(network.outputs)
            term = ["".join(letters[i] for i in ix) for ix in (state, network.tensors[name], new)]
            plan.append((name, f"z{term[0]},{term[1]}->z{term[2]}"))
            state = new
        return plan

    def dense(self) -> Tensor:
        """Return the matrix as ``[out, in]``."""
        w = torch.einsum(self.dense_text, *self.cores.values())
        return w.reshape(self.spec.out_size, self.spec.in_size)

    def quantised_cores(self) -> dict[str, Tensor]:
        """Return the cores as the quantisers leave them."""
        return {k: self.core_q[k](v) for k, v in self.cores.items()}

    def forward(self, x: Tensor, cores: dict[str, Tensor], sweep: int) -> Tensor:
        """Apply the matrix to ``x[batch, in]``, one core of the sweep at a time."""
        t = x.reshape(-1, *self.spec.in_modes)
        sweep %= len(self.plans)
        for (name, text), q in zip(self.plans[sweep], self.step_q[sweep], strict=True):
            t = q(torch.einsum(text, t, cores[name]))
        return t.reshape(len(x), -1)


class Lstm(nn.Module):
    """The classifier: LSTM (gates i, f, g, o), then a linear head on the last hidden state."""

    def __init__(self, spec: ModelSpec, rng: torch.Generator, dropout: float) -> None:
        super().__init__()
        layer, head = spec.layers
        self.spec = spec
        self.input = Matrix(layer.input, rng)
        self.hidden = Matrix(layer.hidden, rng)
        bias = torch.zeros(4, layer.hidden_size)
        bias[1] = 1.0  # forget gate
        self.bias = nn.Parameter(bias.reshape(-1))
        self.head = nn.Linear(layer.hidden_size, head.out_size)
        with torch.no_grad():
            self.head.weight.normal_(0, layer.hidden_size**-0.5, generator=rng)
            self.head.bias.zero_()
        self.dropout = nn.Dropout(dropout)
        self.x_q, self.h_q, self.bias_q, self.gate_q = (Quantiser() for _ in range(4))
        self.c_q = Quantiser(16)
        self.head_w_q, self.head_b_q, self.head_q = (Quantiser() for _ in range(3))

    def set_mode(self, mode: str) -> None:
        """Switch all quantisers; "calibrate" forgets the magnitudes seen so far."""
        for m in self.modules():
            if isinstance(m, Quantiser):
                m.mode = mode
                m.largest = 0.0 if mode == "calibrate" else m.largest

    def forward(self, x: Tensor, lengths: Tensor, sweep: int = 0) -> Tensor:
        """Return logits of ``x[time, batch, channel]``, zero-padded to the longest sequence."""
        n_steps, batch, _ = x.shape
        quantised = self.h_q.mode != "off"
        hidden = self.spec.layers[0].hidden_size
        if quantised:
            u, v = self.input.quantised_cores(), self.hidden.quantised_cores()
            wx = self.input(self.x_q(x).reshape(n_steps * batch, -1), u, sweep)
        else:
            wx = x.reshape(n_steps * batch, -1) @ self.input.dense().T
            w_hidden = self.hidden.dense().T
        wx = (wx + self.bias_q(self.bias)).reshape(n_steps, batch, -1)
        h = c = x.new_zeros(batch, hidden)
        for t in range(n_steps):
            wh = self.hidden(h, v, sweep) if quantised else h @ w_hidden
            i, f, g, o = self.gate_q(wx[t] + wh).chunk(4, dim=1)
            c_new = self.c_q(f.sigmoid() * c + i.sigmoid() * g.tanh())
            h_new = self.h_q(o.sigmoid() * c_new.tanh())
            alive = (t < lengths)[:, None]
            c, h = torch.where(alive, c_new, c), torch.where(alive, h_new, h)
        h = self.dropout(h)
        w, b = self.head_w_q(self.head.weight), self.head_b_q(self.head.bias)
        return self.head_q(h @ w.T + b)


def pad(data: Sequences, picks: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``x[time, batch, channel]``, lengths and labels of the picked sequences."""
    chosen = [torch.from_numpy(data.sequences[k]) for k in picks]
    lengths = torch.tensor([len(s) for s in chosen])
    return nn.utils.rnn.pad_sequence(chosen), lengths, torch.from_numpy(data.labels[picks])


def split(data: Sequences, n_held_out: int, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the picks to train on and to validate on: `n_held_out` of every class."""
    held = np.zeros(len(data), dtype=bool)
    for label in range(data.n_classes):
        members = np.flatnonzero(data.labels == label)
        held[np.roll(members, -fold * n_held_out)[:n_held_out]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


@contextmanager
def evaluating(model: Lstm, mode: str) -> Iterator[None]:
    """Switch dropout off and the quantisers to `mode` for a while."""
    model.eval()
    model.set_mode(mode)
    with torch.no_grad():
        yield
    model.train()


def accuracy(model: Lstm, data: Sequences, picks: np.ndarray, sweep: int = 0) -> float:
    """Return the share of the picked sequences that are classified rightly."""
    x, lengths, labels = pad(data, picks)
    return float((model(x, lengths, sweep).argmax(1) == labels).double().mean())


def train(spec: ModelSpec, data: Sequences, picks: np.ndarray, a: argparse.Namespace) -> Lstm:
    """Train on the picked sequences for a fixed number of epochs; no selection."""
    rng = torch.Generator().manual_seed(a.seed)
    torch.manual_seed(a.seed)
    model = Lstm(spec, rng, a.dropout)
    optimiser = torch.optim.AdamW(model.parameters(), lr=a.rate, weight_decay=a.decay)
    n_epochs = a.epochs + a.quantised_epochs
    n_batches = math.ceil(len(picks) / a.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, a.rate, total_steps=n_epochs * n_batches, pct_start=0.1
    )
    start = time.monotonic()
    for epoch in range(n_epochs):
        if epoch == a.epochs:
            model.set_mode("track")
        total = 0.0
        order = picks[torch.randperm(len(picks), generator=rng).numpy()]
        for k in range(n_batches):
            x, lengths, labels = pad(data, order[k * a.batch : (k + 1) * a.batch])
            offset = a.offset * torch.randn(1, *x.shape[1:], generator=rng)
            x = x + offset + a.noise * torch.randn(x.shape, generator=rng)
            logits = model(x.clamp(-4, 4), lengths, sweep=k)
            loss = cross_entropy(logits, labels, label_smoothing=a.smoothing)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        if epoch % 20 == 19 or epoch == n_epochs - 1:
            print(
                f"{spec.name}: epoch {epoch + 1}/{n_epochs} loss {total / n_batches:.3f} "
                f"{time.monotonic() - start:.0f} s",
                flush=True,
            )
    return model


def evaluate(
    model: Lstm, data: Sequences, picks: np.ndarray, calibration: Sequences, known: np.ndarray
) -> dict[str, float]:
    """Accuracy in float and in simulated 8 bits, scales calibrated on known sequences."""
    with evaluating(model, "off"):
        result = {"float": accuracy(model, data, picks)}
    with evaluating(model, "calibrate"):
        for sweep in range(2):
            accuracy(model, calibration, known, sweep)
    with evaluating(model, "fixed"):
        for sweep, name in enumerate(model.hidden.sweeps):
            result[f"8bit_{name}"] = accuracy(model, data, picks, sweep)
    return result


def export(model: Lstm) -> Model:
    """Return the trained model in the form that is stored."""
    tensors = {
        f"layers.0.{which}.{name}": core.detach().numpy()
        for which, matrix in (("input", model.input), ("hidden", model.hidden))
        for name, core in matrix.cores.items()
    }
    tensors["layers.0.bias"] = model.bias.detach().numpy()
    tensors["layers.1.weight.W"] = model.head.weight.detach().numpy()
    tensors["layers.1.bias"] = model.head.bias.detach().numpy()
    return Model(model.spec, tensors)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--models",
        nargs="+",
        choices=list(MATRICES),
        default=list(MATRICES),
        help="results.json will hold these only",
    )
    p.add_argument("--out", type=Path, default=HERE, help="folder of the files written")
    p.add_argument("--validate", type=int, default=0, metavar="N", help="hold out N per speaker")
    p.add_argument("--fold", type=int, default=0, help="which N to hold out")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--epochs", type=int, default=160, help="epochs in float")
    p.add_argument("--quantised-epochs", type=int, default=100, help="epochs with 8-bit noise")
    p.add_argument("--batch", type=int, default=30)
    p.add_argument("--rate", type=float, default=0.01, help="largest learning rate")
    p.add_argument("--decay", type=float, default=0.02, help="weight decay")
    p.add_argument("--noise", type=float, default=0.3, help="input noise, standard deviations")
    p.add_argument("--offset", type=float, default=0.4, help="noise constant over an utterance")
    p.add_argument("--dropout", type=float, default=0.2, help="of the last hidden state")
    p.add_argument("--smoothing", type=float, default=0.05, help="label smoothing")
    p.add_argument("--threads", type=int, default=1)
    return p.parse_args()


def main() -> None:
    """Train the models that are asked for, write weights and results."""
    a = arguments()
    torch.set_num_threads(a.threads)
    data = load_npz(HERE / "japanese_vowels.npz", "train")
    picks, held = split(data, a.validate, a.fold)
    judge = data
    if not a.validate:
        judge = load_npz(HERE / "japanese_vowels.npz", "test")
        held = np.arange(len(judge))
    settings = {k: v for k, v in vars(a).items() if k not in ("models", "out", "threads")}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["numpy"] = np.__version__
    results: dict[str, object] = {"settings": settings, "versions": versions}
    for name in a.models:
        layer = {"input_size": data.n_channels, "hidden_size": HIDDEN} | MATRICES[name]
        head = {"kind": "linear", "input_size": HIDDEN, "out_size": data.n_classes}
        head["weight"] = {"format": "dense"}
        spec = ModelSpec.model_validate(
            {"name": f"japanese-vowels-{name}", "layers": [layer, head]}
        )
        model = train(spec, data, picks, a)
        matrices = {k: n_weights(getattr(spec.layers[0], k)) for k in ("input", "hidden")}
        scores = evaluate(model, judge, held, data, picks)
        results[name] = {
            "weights": matrices | {"total": sum(matrices.values())},
            "validation" if a.validate else "test": {k: round(v, 5) for k, v in scores.items()},
        }
        print(json.dumps({name: results[name]}), flush=True)
        if not a.validate:
            save_model(export(model), a.out / f"{name}.safetensors")
    if not a.validate:
        (a.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
