"""Layers: fully connected networks, trained in one pass over prepared tensors.

Each step is cut into shards of 512 clicks, whose gradients are added in their order. Threads take shards, so any number
of threads gives the same bits; and they wait asleep, where PyTorch's own threads wait by spinning, which on a machine
with other work made two of them several times slower than one (docs/log.md).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from slidr.errors import TrainingError
from slidr.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from slidr.model.graph import Layer, layers_graph
from slidr.model.tensors import Tensors, prepare
from slidr.model.training import Curve, Progress, Trained, TrainingSet, check_agreement, sample_rows
from slidr.settings import ModelSettings

_STEPS = 400  # a small log gets smaller batches, so that its one pass still makes about this many steps
_SMALLEST_BATCH = 32
_SHARD = 512
_POINTS = 100  # of the learning curve
_WARM_UP = 0.1  # share of the steps on which the learning rate rises
_DIVERGED = 3.0  # times the loss of a coin, which is that of a network that knows nothing

Parameters = list[tuple[torch.Tensor, torch.Tensor]]


def fit_layers(
    training: TrainingSet,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    *,
    network: str,
) -> Trained:
    """Train fully connected layers of the widths of the settings, export them and check the graph against PyTorch.

    Args:
        training: what to fit to.
        settings: widths, rate, batch, penalty, device and threads.
        generator: draws initial weights and the order of the clicks.
        progress: told the share done.
        checkpoint: where checkpoints are written, and a stopped training is taken up; removed at the end.
        network: name of the network, for the graph.

    Raises:
        TrainingError: the loss is not finite or grows beyond that of a coin, the device is missing, the checkpoint is
            of another training, or the graph's scores differ from PyTorch's by more than 1e-5.
    """
    with one_thread():
        tensors = prepare(training)
        parameters, curve = train(tensors, settings, generator, progress, checkpoint)
        sample = sample_rows(training.rows)
        with torch.no_grad():
            expected = torch.sigmoid(_logits(tensors.scaling.apply(torch.from_numpy(sample)), parameters)).numpy()
    layers = tuple(Layer(weight.numpy(), bias.numpy()) for weight, bias in parameters)
    graph = layers_graph(layers, tensors.scaling, training.names, network)
    difference = check_agreement(graph, sample, expected)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return Trained(graph, curve, difference)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let each operator of PyTorch run on the thread that calls it, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    tensors: Tensors,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> tuple[Parameters, Curve]:
    """Minimise the weighted cross-entropy plus the L2 penalty in one pass in random order.

    Returns:
        Weight and bias of each layer, on the CPU, and the learning curve.

    Raises:
        TrainingError: as `fit_layers`.
    """
    identity = _identity(tensors, settings, generator) if checkpoint else ""
    training = _Training(tensors.on(settings.device), settings, generator)
    if checkpoint and (found := read_checkpoint(checkpoint, identity)):
        training.restore(found)
    saved = training.step
    with _shards(settings) as shards:
        while training.step < training.steps:
            training.advance(min(training.step + training.stride, training.steps), shards)
            if checkpoint and (training.step - saved) * training.batch >= settings.checkpoint_every:
                write_checkpoint(checkpoint, training.checkpoint(identity))
                saved = training.step
            if progress:
                progress(training.step / training.steps)
    return training.parameters(), training.curve()


_Gradient = tuple[torch.Tensor, torch.Tensor]
_Map = Callable[[Callable[[torch.Tensor], _Gradient], Iterable[torch.Tensor]], Iterable[_Gradient]]


@contextmanager
def _shards(settings: ModelSettings) -> Iterator[_Map]:
    """Give what maps a function over shards: on the threads of the settings, results in the order of the shards."""
    if settings.threads == 1 or settings.device != "cpu":
        yield map
        return
    with ThreadPoolExecutor(settings.threads) as pool:
        yield pool.map


class _Training:
    """One training: a flat vector of parameters, Adam over it, and what was seen on the way."""

    def __init__(self, tensors: Tensors, settings: ModelSettings, generator: np.random.Generator) -> None:
        clicks, features = tensors.rows.shape
        self._tensors, self._settings = tensors, settings
        self._widths = (features, *settings.widths, 1)
        device = tensors.rows.device
        self._flat = _initial(self._widths, generator).to(device).requires_grad_()
        self._adam = torch.optim.Adam([self._flat], fused=True)
        self._hidden = sum(inputs * outputs for inputs, outputs in itertools.pairwise(self._widths[:-1]))
        kept = np.delete(np.arange(clicks), tensors.held_out)
        self._order = torch.from_numpy(generator.permutation(kept)).to(device)
        self._aside = torch.from_numpy(tensors.held_out).to(device)
        self.batch = min(settings.batch_size, max(_SMALLEST_BATCH, len(kept) // _STEPS))
        self.steps = math.ceil(len(kept) / self.batch)
        self.stride = math.ceil(self.steps / _POINTS)
        self.step = 0
        self._losses = torch.zeros(self.steps, device=device)
        self._held_out: list[float] = []
        self._coin = math.log(2) * float(tensors.weights.mean())

    def advance(self, end: int, shards: _Map) -> None:
        """Make the steps up to a point of the curve, and refuse to go on from one where nothing is learnt any more."""
        start = self.step
        for step in range(start, end):
            chosen = self._order[step * self.batch : (step + 1) * self.batch]
            size = _SHARD if self._settings.device == "cpu" else self.batch
            pieces = [chosen[place : place + size] for place in range(0, len(chosen), size)]
            results = list(shards(partial(self._gradient, len(chosen)), pieces))
            loss, gradient = results[0]
            for other_loss, other in results[1:]:
                loss += other_loss
                gradient += other
            gradient[: self._hidden].add_(self._flat.detach()[: self._hidden], alpha=2 * self._settings.l2)
            self._flat.grad = gradient
            self._adam.param_groups[0]["lr"] = self._settings.learning_rate * _schedule((step + 1) / self.steps)
            self._adam.step()
            self._losses[step] = loss
        self.step = end
        self._check(start, end)
        if len(self._aside):
            with torch.no_grad():
                self._held_out.append(self._loss(self._aside, self._flat, len(self._aside)).item())

    def _gradient(self, size: int, chosen: torch.Tensor) -> _Gradient:
        """Return a shard's part of the batch's loss, and its gradient."""
        loss = self._loss(chosen, self._flat, size)
        (gradient,) = torch.autograd.grad(loss, self._flat)
        return loss.detach(), gradient

    def _loss(self, chosen: torch.Tensor, flat: torch.Tensor, size: int) -> torch.Tensor:
        """Return sum_i w_i BCE(score_i, robotic_i) / size over chosen clicks."""
        rows = self._tensors.rows.index_select(0, chosen).float()
        robotic, weights = (part.index_select(0, chosen) for part in (self._tensors.robotic, self._tensors.weights))
        logits = _logits(rows, _layers(flat, self._widths))
        entropy = functional.binary_cross_entropy_with_logits(logits, robotic, weights, reduction="sum")
        return entropy / size

    def _check(self, start: int, end: int) -> None:
        losses = self._losses[:end].cpu()
        rate = f"with model.learning_rate = {self._settings.learning_rate}"
        remedy = "lower the rate, or look for features with extreme values"
        wrong = torch.nonzero(~torch.isfinite(losses[start:end]))
        if len(wrong):
            step = start + int(wrong[0])
            raise TrainingError(f"the loss is {losses[step]} at step {step} of {self.steps} {rate}; {remedy}")
        if not bool(torch.isfinite(self._flat).all()):
            raise TrainingError(f"the network's weights are not finite after step {end - 1} {rate}; {remedy}")
        recent = float(losses[-max(1, self.steps // 10) :].mean())
        if end > self.steps * _WARM_UP and recent > _DIVERGED * self._coin:
            raise TrainingError(
                f"the loss is {recent:.3g} before step {end} of {self.steps} {rate}, and that of a coin would be "
                f"{self._coin:.3g}: the training diverges; {remedy}"
            )

    def parameters(self) -> Parameters:
        """Return weight and bias of each layer, on the CPU."""
        return _layers(self._flat.detach().cpu(), self._widths)

    def curve(self) -> Curve:
        """Return the learning curve so far."""
        ends = [*range(self.stride, self.step, self.stride), self.step]
        losses = self._losses.cpu().numpy()
        means = [float(losses[start:end].mean()) for start, end in itertools.pairwise([0, *ends])]
        seen = tuple(min(end * self.batch, len(self._order)) for end in ends)
        return Curve("clicks", seen, tuple(means), tuple(self._held_out))

    def checkpoint(self, identity: str) -> Checkpoint:
        """Return what a training needs to go on from here."""
        state = self._adam.state[self._flat]
        vectors = (self._flat.detach(), state["exp_avg"], state["exp_avg_sq"], self._losses[: self.step])
        held_out = np.array(self._held_out, np.float64)
        return Checkpoint._make([identity, *(vector.cpu().numpy() for vector in vectors), held_out])

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        device = self._flat.device
        self.step = len(checkpoint.losses)
        self._held_out = checkpoint.held_out.tolist()
        self._losses[: self.step] = torch.from_numpy(checkpoint.losses).to(device)
        with torch.no_grad():
            self._flat.copy_(torch.from_numpy(checkpoint.parameters))
        self._adam.state[self._flat] = {
            "step": torch.tensor(float(self.step), device=device),
            "exp_avg": torch.from_numpy(checkpoint.mean).to(device),
            "exp_avg_sq": torch.from_numpy(checkpoint.square).to(device),
        }


def _identity(tensors: Tensors, settings: ModelSettings, generator: np.random.Generator) -> str:
    """Return a hash of all that decides how a training goes."""
    decisive = {
        "clicks": tensors.digest,
        "settings": {key: getattr(settings, key) for key in ("widths", "l2", "learning_rate", "batch_size", "device")},
        "generator": generator.bit_generator.state,
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(decisive, default=str).encode()).hexdigest()


def _initial(widths: tuple[int, ...], generator: np.random.Generator) -> torch.Tensor:
    """Return one vector: weights that keep the variance through ReLU layers (He et al., 2015), then biases of zero."""
    seeded = torch.Generator().manual_seed(int(generator.integers(2**62)))
    weights = [
        torch.randn(inputs * outputs, generator=seeded) * math.sqrt(2 / inputs)
        for inputs, outputs in itertools.pairwise(widths)
    ]
    return torch.cat([*weights, torch.zeros(sum(widths[1:]))])


def _layers(flat: torch.Tensor, widths: tuple[int, ...]) -> Parameters:
    """Return views of a vector as weight [inputs, outputs] and bias [outputs] of each layer."""
    shapes = list(itertools.pairwise(widths))
    parts = torch.split(flat, [*(inputs * outputs for inputs, outputs in shapes), *widths[1:]])
    weights, biases = parts[: len(shapes)], parts[len(shapes) :]
    return [(weight.view(shape), bias) for weight, bias, shape in zip(weights, biases, shapes, strict=True)]


def _logits(rows: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    """Return the network's output before the sigmoid: [n, F] -> [n]."""
    value = rows
    for depth, (weight, bias) in enumerate(parameters):
        value = torch.addmm(bias, functional.relu(value, inplace=True) if depth else value, weight)
    return value.squeeze(1)


def _schedule(done: float) -> float:
    """Return the learning rate as a share of its peak: a linear rise, then half a cosine down to zero."""
    if done < _WARM_UP:
        return done / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
