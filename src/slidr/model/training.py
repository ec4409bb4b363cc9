"""Training: one pass over the labelled clicks, in PyTorch, from whole arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from slidr.errors import TrainingError
from slidr.metrics import Bools, Float32s
from slidr.model.graph import Layer, layers_graph
from slidr.model.scaling import Scaling, fit_scaling
from slidr.model.scorer import Scorer
from slidr.settings import ModelSettings

Progress = Callable[[float], None]

TOLERANCE = 1e-5
"""Largest difference between a score of the exported graph and PyTorch's."""

_STEPS = 400  # a small log gets smaller batches, so that its one pass still makes about this many steps
_SMALLEST_BATCH = 32
_WARM_UP = 0.1  # share of the steps on which the learning rate rises
_CHECKED_ROWS = 4096


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Labelled rows of features.

    Attributes:
        rows: float32[n, F].
        human: bool[n]; what is not human is unlabelled, and trained as robotic.
        weights: float32[n], sample weights.
        names: the F features.

    Raises:
        TrainingError: no rows, shapes that do not fit, a value that is not finite, or labels of one class only.
    """

    rows: Float32s
    human: Bools
    weights: Float32s
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        clicks, features = len(self.human), len(self.names)
        if clicks == 0 or features == 0:
            raise TrainingError(
                f"a training set of {clicks} clicks and {features} features teaches nothing; "
                "check that the training days hold clicks and that the catalogue holds features"
            )
        if self.rows.shape != (clicks, features) or self.weights.shape != (clicks,):
            raise TrainingError(
                f"rows are {self.rows.shape} and weights {self.weights.shape}, and must be {(clicks, features)} and "
                f"{(clicks,)}; join rows, labels and weights by click first"
            )
        self._check_values()
        humans = int(np.count_nonzero(self.human))
        if humans in {0, clicks}:
            raise TrainingError(
                f"{humans} of {clicks} clicks are labelled human, and training needs both labels; "
                "check the purchase log and labels.attribution_window"
            )

    def _check_values(self) -> None:
        # Finite rows have finite column sums; the converse fails only on overflow, which float64 excludes.
        sums = np.add.reduce(self.rows, axis=0, dtype=np.float64)
        for column in np.flatnonzero(~np.isfinite(sums)):
            row = int(np.flatnonzero(~np.isfinite(self.rows[:, column]))[0])
            raise TrainingError(
                f"feature {self.names[column]} of row {row} is {self.rows[row, column]}, and must be finite; "
                "check the source of the row"
            )
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all() and self.weights.sum() > 0):
            raise TrainingError("sample weights must be finite, none negative and not all zero; make them again")


def fit_layers(
    training: TrainingSet,
    widths: tuple[int, ...],
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
    *,
    network: str,
) -> bytes:
    """Train fully connected layers of these hidden widths, export them and check the graph against PyTorch.

    Raises:
        TrainingError: the loss is not finite, or the graph's scores differ from PyTorch's by more than 1e-5.
    """
    with _threads(settings.threads):
        scaling = fit_scaling(training.rows)
        parameters = _train(training, scaling, widths, settings, generator, progress or _silent)
    layers = tuple(Layer(weight.detach().numpy(), bias.detach().numpy()) for weight, bias in parameters)
    graph = layers_graph(layers, scaling, training.names, network)
    sample = training.rows[:: math.ceil(len(training.rows) / _CHECKED_ROWS)].copy()
    with torch.no_grad():
        expected = torch.sigmoid(_logits(scaling.apply(torch.from_numpy(sample)), parameters)).numpy()
    difference = float(np.abs(Scorer(graph).score(sample) - expected).max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"the exported graph of {network} differs from PyTorch by {difference:.1e}, and at most {TOLERANCE:.0e} "
            "is allowed; look for features with extreme values"
        )
    return graph


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads for a while.

    Its threads wait for each other by spinning: on a machine whose cores have other work too, two took ten times as
    long as one (docs/log.md).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Parameters = list[tuple[torch.Tensor, torch.Tensor]]


def _train(
    training: TrainingSet,
    scaling: Scaling,
    widths: tuple[int, ...],
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress,
) -> Parameters:
    """Minimise the weighted binary cross-entropy plus the L2 penalty, in one pass in random order."""
    parameters = _initial((training.rows.shape[1], *widths, 1), generator)
    optimiser = torch.optim.Adam([tensor for layer in parameters for tensor in layer], fused=True)
    order = generator.permutation(len(training.rows))
    batch = min(settings.batch_size, max(_SMALLEST_BATCH, len(order) // _STEPS))
    steps = math.ceil(len(order) / batch)
    for step in range(steps):
        chosen = order[step * batch : (step + 1) * batch]
        rows = scaling.apply(torch.from_numpy(training.rows[chosen]))
        robotic = torch.from_numpy((~training.human[chosen]).astype(np.float32))
        weight = torch.from_numpy(training.weights[chosen])
        entropy = functional.binary_cross_entropy_with_logits(_logits(rows, parameters), robotic, weight)
        penalty = sum((weight.square().sum() for weight, _ in parameters[:-1]), torch.zeros(()))
        loss = entropy + settings.l2 * penalty
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss is {loss.item()} at step {step} of {steps} with model.learning_rate = "
                f"{settings.learning_rate}; lower the rate, or look for features with extreme values"
            )
        optimiser.param_groups[0]["lr"] = settings.learning_rate * _schedule((step + 1) / steps)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        progress((step + 1) / steps)
    return parameters


def _initial(widths: tuple[int, ...], generator: np.random.Generator) -> Parameters:
    """Return weights that keep the variance through ReLU layers (He et al., 2015), and biases of zero."""
    seeded = torch.Generator().manual_seed(int(generator.integers(2**62)))
    parameters = []
    for inputs, outputs in itertools.pairwise(widths):
        weight = torch.randn(inputs, outputs, generator=seeded) * math.sqrt(2 / inputs)
        parameters.append((weight.requires_grad_(), torch.zeros(outputs, requires_grad=True)))
    return parameters


def _logits(rows: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    """Return the network's output before the sigmoid: [n, F] -> [n]."""
    value = rows
    for depth, (weight, bias) in enumerate(parameters):
        value = torch.addmm(bias, functional.relu(value) if depth else value, weight)
    return value.squeeze(1)


def _schedule(done: float) -> float:
    """Return the learning rate as a share of its peak: a linear rise, then half a cosine down to zero."""
    if done < _WARM_UP:
        return done / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


def _silent(done: float) -> None:
    """Tell nobody."""
