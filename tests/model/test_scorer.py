from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from slidr.errors import BundleError, FeatureError
from slidr.model.graph import GraphBuilder, Layer, layers_graph
from slidr.model.scaling import Scaling
from slidr.model.scorer import Scorer


@pytest.fixture
def scorer() -> Scorer:
    """Give a scorer whose score is its first feature."""
    graph = GraphBuilder()
    graph.node("Gather", "rows", graph.constant(np.array(0)), output="score", axis=1)
    return Scorer(graph.finish(("first", "second"), "test"))


def test_no_rows_have_no_scores(scorer: Scorer) -> None:
    """An empty batch is no error."""
    assert scorer.score(np.zeros((0, 2), dtype=np.float32)).shape == (0,)


def test_the_log_odds_of_a_network_are_what_its_score_is_the_sigmoid_of() -> None:
    """They tell clicks apart whose scores are both 1, and are the same bits in a batch of any size."""
    layers = (Layer(np.array([[3.0], [-4.0]], np.float32), np.array([0.5], np.float32)),)
    scorer = Scorer(layers_graph(layers, Scaling(np.zeros(2, np.float32), np.ones(2, np.float32)), ("a", "b"), "test"))
    rows = np.array([[0, 0], [1, 0], [1e3, 0], [2e3, 0], [0, 1e3]], np.float32)
    scores, logits = scorer.score(rows), scorer.logit(rows)
    assert logits[0] == 0.5
    assert scores[2] == scores[3] == 1
    assert logits[2] < logits[3]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, atol=1e-6)
    assert np.concatenate([scorer.logit(row[np.newaxis]) for row in rows]).tobytes() == logits.tobytes()


def test_a_score_that_is_no_sigmoid_has_log_odds_too(scorer: Scorer) -> None:
    """A graph without a logit gives the score's own log-odds, which stay finite at 0 and 1."""
    logits = scorer.logit(np.array([[0.5, 0], [0.75, 0], [0, 0], [1, 0]], np.float32))
    np.testing.assert_allclose(logits, [0, np.log(3), -np.log(2**24 - 1), np.log(2**24 - 1)])


@pytest.mark.parametrize("graph", [b"", b"not a graph", bytes(100)])
def test_bytes_that_are_no_graph_are_refused(graph: bytes) -> None:
    """Broken bytes raise slidr's own error, with their number."""
    with pytest.raises(BundleError, match=f"{len(graph)} bytes"):
        Scorer(graph)


def test_a_graph_of_others_is_refused() -> None:
    """A valid graph without our properties is refused, and what is missing is named."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["rows"], ["score"])],
        "foreign",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(BundleError, match=r"slidr\.names"):
        Scorer(model.SerializeToString())


def test_rows_of_another_catalogue_are_refused(scorer: Scorer) -> None:
    """Another number of columns or another type is refused with both shapes named."""
    with pytest.raises(FeatureError, match=r"rows of 2 features, and was given float32\[1, 3\]"):
        scorer.score(np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(FeatureError, match="float64"):
        scorer.score(np.zeros((1, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_refused(scorer: Scorer, value: float) -> None:
    """NaN and infinities never become a score, and the feature and the row are named."""
    rows = np.zeros((3, 2), dtype=np.float32)
    rows[2, 1] = value
    with pytest.raises(FeatureError, match="feature second of row 2"):
        scorer.score(rows)


def test_serving_imports_no_training_library() -> None:
    """The scorer loads onnxruntime and none of torch, onnx, scipy or pyarrow."""
    heavy = "{'torch', 'onnx', 'scipy', 'pyarrow', 'cvxpy'}"
    code = f"import sys, slidr.model.scorer; print(sorted({heavy} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 our own interpreter
    assert loaded.stdout.strip() == "[]"
