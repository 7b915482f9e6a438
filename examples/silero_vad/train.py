#!/usr/bin/env python3
"""Compress silero-vad's LSTM four times and distil each variant from the original.

    python examples/silero_vad/train.py                  # all variants: {svd,mps,ht}.safetensors
    python examples/silero_vad/train.py --only ht --steps 2000

Needs PyTorch. The dense LSTM is the teacher: a student learns its h over 20 minutes of speech
synthesised by espeak-ng, with other seeds than those that run.py calibrates and tests with. The
files are written beside this one.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from run import HERE, dense_model, moved, spoken, test_sounds, weights
from torch import Tensor
from vad import Vad

from einchip.models import Model, save_model
from einchip.models.compress import Plan, Target, compress_model
from einchip.models.torch import TorchModel

FORMATS = {"svd": "lowrank", "mps": "mps", "ht": "ht"}
RATIO = 4.0
#: Frames of one training sequence, sequences of a batch, and frames in which the state settles.
LENGTH, BATCH, SETTLE = 256, 12, 40
TRAIN_SEEDS = range(100, 120)
TRAIN_SECONDS = 60.0


def teacher_data(vad: Vad, dense: Model) -> tuple[Tensor, Tensor]:
    """Return inputs and the teacher's h, both [n_sequences, LENGTH, 128]."""
    inputs, states = [], []
    for seed in TRAIN_SEEDS:
        x = vad.features(spoken(TRAIN_SECONDS, seed))
        h = dense.run(x)
        n = len(x) // LENGTH
        inputs.append(x[: n * LENGTH].reshape(n, LENGTH, -1))
        states.append(h[: n * LENGTH].reshape(n, LENGTH, -1))
    return tuple(torch.from_numpy(np.concatenate(a).astype(np.float32)) for a in (inputs, states))


def distil(student: Model, x: Tensor, h: Tensor, behind: Tensor, steps: int, rate: float) -> Model:
    """Return the student after `steps` steps of Adam, with a one-cycle rate up to `rate`.

    The error of h counts, and more so along `behind`, the weights of the network's last layer.
    """
    torch.manual_seed(0)
    net = TorchModel.from_model(student)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    start = time.monotonic()
    for k in range(steps):
        rows = torch.randint(len(x), (BATCH,))
        apart = (net(x[rows]) - h[rows])[:, SETTLE:]
        logit = (torch.relu(apart + h[rows][:, SETTLE:]) - torch.relu(h[rows][:, SETTLE:])) @ behind
        loss = apart.square().mean() + 0.05 * torch.nn.functional.huber_loss(
            logit, torch.zeros_like(logit)
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (k + 1) % 100 == 0:
            spent = time.monotonic() - start
            print(f"  step {k + 1}/{steps}: loss {loss.item():.5f}, {spent:.0f} s", flush=True)
    return net.to_model()


def compressed(dense: Model, name: str) -> tuple[Model, list[float]]:
    """Return a variant before training, and the relative errors of its two matrices."""
    plan = Plan(format=FORMATS[name], target=Target(ratio=RATIO))
    student, reports = compress_model(dense, plan)
    return student, [r.error for r in reports]


def note_before(vad: Vad, dense: Model) -> None:
    """Write how far the probability moves where nothing is trained, on the sound of run.py."""
    sounds = test_sounds(60.0)
    inputs = [vad.features(s) for s in sounds]
    expected = np.concatenate([vad.original(s) for s in sounds])
    rows = []
    for name in FORMATS:
        student, errors = compressed(dense, name)
        before = moved(vad, expected, np.concatenate([student.run(x) for x in inputs]))
        rows.append({"name": name, "errors": errors, "before": before})
    path = HERE / "results" / "compressed.json"
    path.write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    """Train the variants that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=FORMATS, action="append", help="variants; all without")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=3e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    vad = Vad()
    dense = dense_model(vad)
    note_before(vad, dense)
    x, h = teacher_data(vad, dense)
    behind = torch.from_numpy(vad.last_weights())
    for name in given.only or FORMATS:
        student, errors = compressed(dense, name)
        texts = " and ".join(f"{e:.3f}" for e in errors)
        print(f"{name}: {weights(student):,} weights, relative errors before training {texts}")
        trained = distil(student, x, h, behind, given.steps, given.rate)
        save_model(
            Model(trained.spec.model_copy(update={"name": f"silero-vad {name}"}), trained.tensors),
            HERE / f"{name}.safetensors",
        )


if __name__ == "__main__":
    main()
