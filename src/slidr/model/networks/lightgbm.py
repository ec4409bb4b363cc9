"""Gradient-boosted trees (LightGBM; Ke et al., NeurIPS 2017), the strong peer of the networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from slidr.errors import TrainingError
from slidr.model.graph import LOGIT, GraphBuilder
from slidr.model.training import Curve, Progress, Trained, TrainingSet, check_agreement, sample_rows
from slidr.settings import ModelSettings

_TREES = 200
_PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.1,
    "num_leaves": 63,
    "min_data_in_leaf": 100,
    "use_missing": False,  # rows are finite
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def fit(
    training: TrainingSet,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Return 200 trees of up to 63 leaves as an ONNX graph, and how they learnt.

    They take the features as they are, and the same sample weights as the networks. Trees are grown in one go: one that
    is stopped begins anew, and the checkpoint is not used.

    Raises:
        TrainingError: a loss is not finite, or the graph's scores differ from LightGBM's by more than 1e-5.
    """
    del checkpoint
    parameters = _PARAMETERS | {"num_threads": settings.threads, "seed": int(generator.integers(2**31))}
    labelled = lightgbm.Dataset(training.rows, ~training.human, weight=training.weights, params=parameters)
    held_out = training.held_out
    kept = np.delete(np.arange(len(training.rows)), held_out)
    parts = {"training": labelled.subset(kept.tolist())}
    if len(held_out):
        parts["held_out"] = labelled.subset(held_out.tolist())
    losses: dict[str, list[float]] = {name: [] for name in parts}

    def watch(state: Any) -> None:
        for name, _, loss, *_ in state.evaluation_result_list:
            if not np.isfinite(loss):
                raise TrainingError(f"the loss of the trees is {loss} after {state.iteration + 1}; check the features")
            losses[name].append(float(loss))
        if progress:
            progress((state.iteration + 1) / _TREES)

    booster = lightgbm.train(
        parameters, parts["training"], _TREES, list(parts.values()), list(parts), callbacks=[watch]
    )
    if progress:
        progress(1.0)
    graph = _graph(booster, training.names)
    sample = sample_rows(training.rows)
    difference = check_agreement(graph, sample, np.asarray(booster.predict(sample), np.float32))
    seen = tuple(range(1, len(losses["training"]) + 1))
    curve = Curve("trees", seen, tuple(losses["training"]), tuple(losses.get("held_out", ())))
    return Trained(graph, curve, difference)


@dataclass
class _Nodes:
    """Nodes of all trees as ONNX's TreeEnsembleRegressor lists them, column by column."""

    nodes_treeids: list[int] = field(default_factory=list)
    nodes_nodeids: list[int] = field(default_factory=list)
    nodes_featureids: list[int] = field(default_factory=list)
    nodes_modes: list[str] = field(default_factory=list)
    nodes_values: list[float] = field(default_factory=list)
    nodes_truenodeids: list[int] = field(default_factory=list)
    nodes_falsenodeids: list[int] = field(default_factory=list)
    target_treeids: list[int] = field(default_factory=list)
    target_nodeids: list[int] = field(default_factory=list)
    target_weights: list[float] = field(default_factory=list)

    def add(self, tree: int, node: dict[str, Any], numbers: Iterator[int]) -> int:
        """Append a node and all below it, and return its number within the tree."""
        number, place = next(numbers), len(self.nodes_treeids)
        is_leaf = "leaf_value" in node
        self.nodes_treeids.append(tree)
        self.nodes_nodeids.append(number)
        self.nodes_featureids.append(0 if is_leaf else node["split_feature"])
        self.nodes_modes.append("LEAF" if is_leaf else "BRANCH_LEQ")
        self.nodes_values.append(0.0 if is_leaf else _below(float(node["threshold"])))
        self.nodes_truenodeids.append(0)
        self.nodes_falsenodeids.append(0)
        if is_leaf:
            self.target_treeids.append(tree)
            self.target_nodeids.append(number)
            self.target_weights.append(float(node["leaf_value"]))
        else:
            self.nodes_truenodeids[place] = self.add(tree, node["left_child"], numbers)
            self.nodes_falsenodeids[place] = self.add(tree, node["right_child"], numbers)
        return number


def _below(threshold: float) -> float:
    """Return the largest float32 not above a threshold, which splits float32 values as the threshold itself does."""
    near = np.float32(threshold)
    # As doubles: numpy would round the threshold before it compares.
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))


def _graph(booster: lightgbm.Booster, names: tuple[str, ...]) -> bytes:
    """Return the trees as one ONNX graph: the sum of their leaves, and its sigmoid."""
    nodes = _Nodes()
    for tree, grown in enumerate(booster.dump_model()["tree_info"]):
        nodes.add(tree, grown["tree_structure"], iter(range(2 * _PARAMETERS["num_leaves"])))
    graph = GraphBuilder()
    total = graph.node(
        "TreeEnsembleRegressor",
        "rows",
        output=LOGIT,
        domain="ai.onnx.ml",
        n_targets=1,
        target_ids=[0] * len(nodes.target_weights),
        **vars(nodes),
    )
    share = graph.node(
        "Clip", graph.node("Sigmoid", total), *(graph.constant(np.array(np.float32(end))) for end in (0, 1))
    )
    graph.node("Squeeze", share, graph.constant(np.array([1])), output="score")
    return graph.finish(names, "lightgbm")
