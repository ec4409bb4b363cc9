"""How long the network takes to learn from 10 million clicks of 76 features in one pass, on two cores or a GPU.

The clicks are drawn at random as prepared tensors: what they hold changes nothing in the time. Preparing them, which a
real training does first, is timed on a part. Beside it the same network learns from another part as PyTorch's tutorials
do it: a DataLoader over a TensorDataset, nn.Sequential, Adam, float32; of one thread and as many as ours, the quicker.

    python -m benchmarks.training [--device cuda] [--clicks N] [--threads N]

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from benchmarks.budgets import show
from benchmarks.machine import apart, peak_rss_mb
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from slidr.model.layers import one_thread, train
from slidr.model.scaling import Scaling
from slidr.model.tensors import Tensors, prepare
from slidr.model.training import TrainingSet
from slidr.settings import ModelSettings

CLICKS, PART, FEATURES = 10_000_000, 500_000, 76
_CHUNK = 65_536
_ROBOTIC = 0.8
_ROUNDS = 3


class Measured(NamedTuple):
    """Seconds by the clock and of all cores together, and peak memory of a training."""

    seconds: float
    processor: float
    rss_mb: int


def draw_tensors(clicks: int, generator: np.random.Generator) -> Tensors:
    """Return prepared clicks: standard normal features, of which the first leans to robots."""
    rows = torch.empty((clicks, FEATURES), dtype=torch.float16)
    robotic = torch.from_numpy((generator.random(clicks) < _ROBOTIC).astype(np.float32))
    for start in range(0, clicks, _CHUNK):
        part = slice(start, start + _CHUNK)
        drawn = torch.from_numpy(generator.standard_normal((len(rows[part]), FEATURES), dtype=np.float32))
        drawn[:, 0] += robotic[part]
        rows[part] = drawn
    scaling = Scaling(np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32))
    return Tensors(rows, robotic, torch.ones(clicks), scaling, np.zeros(0, np.int64))


def measure_training(clicks: int, settings: ModelSettings) -> Measured:
    """Return how long one pass took, from tensors in memory to the trained weights."""
    tensors = draw_tensors(clicks, np.random.default_rng(1))
    with one_thread():
        worked, start = time.process_time(), time.perf_counter()
        train(tensors, settings, np.random.default_rng(settings.seed))
        return Measured(time.perf_counter() - start, time.process_time() - worked, peak_rss_mb())


def measure_preparing(clicks: int) -> float:
    """Return how long it takes to scale clicks that are there as a matrix of float32."""
    generator = np.random.default_rng(2)
    rows = generator.lognormal(1, 1, (clicks, FEATURES)).astype(np.float32)
    human = generator.random(clicks) > _ROBOTIC
    names = tuple(f"feature_{place}" for place in range(FEATURES))
    training = TrainingSet(rows, human, np.ones(clicks, np.float32), names)
    with one_thread():
        start = time.perf_counter()
        prepare(training)
        return time.perf_counter() - start


def measure_loader(clicks: int, settings: ModelSettings) -> float:
    """Return how long the loop of the tutorials took for one pass."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    tensors = draw_tensors(clicks, np.random.default_rng(1))
    device = torch.device(settings.device)
    widths = (FEATURES, *settings.widths)
    hidden = [part for pair in itertools.pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU())]
    network = nn.Sequential(*hidden, nn.Linear(widths[-1], 1)).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    dataset = TensorDataset(tensors.rows.float(), tensors.robotic, tensors.weights)
    start = time.perf_counter()
    for rows, robotic, weights in DataLoader(dataset, batch_size=settings.batch_size, shuffle=True):
        optimiser.zero_grad()
        logits = network(rows.to(device)).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, robotic.to(device), weights.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print the figures beside their budgets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--clicks", type=int, default=CLICKS)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    settings = ModelSettings(device=asked.device, threads=asked.threads)
    whole = apart(measure_training, asked.clicks, settings)
    ours: dict[int, float] = {}
    loader: dict[int, float] = {}
    for _, threads in itertools.product(range(_ROUNDS), dict.fromkeys((1, asked.threads))):
        # In turn, and the quickest of each: other work on the machine then hits both alike.
        chosen = msgspec.structs.replace(settings, threads=threads)
        ours[threads] = min(ours.get(threads, math.inf), apart(measure_training, PART, chosen).seconds)
        loader[threads] = min(loader.get(threads, math.inf), apart(measure_loader, PART, chosen))
    show(
        "training",
        {
            "clicks": asked.clicks,
            "seconds_10m": round(whole.seconds * CLICKS / asked.clicks, 1),
            "processor_seconds_10m": round(whole.processor * CLICKS / asked.clicks, 1),
            "peak_rss_mb": whole.rss_mb,
            "device": torch.cuda.get_device_name() if asked.device == "cuda" else "cpu",
            "threads": asked.threads,
            "clicks_per_second": round(asked.clicks / whole.seconds),
            "clicks_per_second_part": round(PART / min(ours.values())),
            "clicks_per_second_part_one_thread": round(PART / ours[1]),
            "clicks_per_second_prepared": round(PART / apart(measure_preparing, PART)),
            "loader_clicks_per_second": round(PART / min(loader.values())),
            "ratio_loader": round(min(loader.values()) / min(ours.values()), 2),
        },
    )


if __name__ == "__main__":
    main()
