from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from slidr import extensions
from slidr.errors import TrainingError
from slidr.metrics import Float32s
from slidr.model.scorer import Scorer
from slidr.model.training import Trained, TrainingSet
from slidr.settings import ModelSettings

PACKAGE = "slidr.model.networks"
SETTINGS = ModelSettings(widths=(32, 16))


@pytest.fixture(scope="module", params=extensions.names(PACKAGE))
def network(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give every network that the package holds."""
    return extensions.load(PACKAGE, request.param)


@pytest.fixture(scope="module")
def trained(network: Any, training: TrainingSet) -> Trained:
    """Give what the network makes of the training set."""
    fitted: Trained = network.fit(training, SETTINGS, np.random.default_rng(1))
    return fitted


@pytest.fixture(scope="module")
def graph(trained: Trained) -> bytes:
    """Give the graph of it."""
    return trained.graph


@pytest.fixture(scope="module")
def rows(training: TrainingSet) -> Float32s:
    """Give rows as training saw them, with extreme ones at the end."""
    extreme = np.array([[0.0], [1e-30], [1e30], [np.finfo(np.float32).max]], dtype=np.float32)
    return np.concatenate((training.rows[:500], np.repeat(extreme, training.rows.shape[1], axis=1)))


def test_the_same_seed_gives_the_same_bytes(network: Any, training: TrainingSet, trained: Trained) -> None:
    """Fitting twice with one seed gives one graph, byte for byte, and one curve; with two threads the same graph."""
    assert network.fit(training, SETTINGS, np.random.default_rng(1)) == trained
    threaded = msgspec.structs.replace(SETTINGS, threads=2)
    assert network.fit(training, threaded, np.random.default_rng(1)).graph == trained.graph


def test_a_curve_has_a_point_for_each_loss(trained: Trained) -> None:
    """The curve counts upwards, and its losses are finite and fall, if anything was learnt at all."""
    curve = trained.curve
    assert len(curve.seen) == len(curve.training)
    assert list(curve.seen) == sorted(set(curve.seen))
    assert np.isfinite(curve.training).all()
    if curve.training:
        assert curve.training[-1] < curve.training[0]
    assert msgspec.json.decode(msgspec.json.encode(curve), type=type(curve)) == curve


def test_rows_held_out_are_never_learnt_from(network: Any, training: TrainingSet) -> None:
    """Of 12,000 clicks the labels of 120 late ones change what the curve says of them, and not the network."""
    rows = np.tile(training.rows, (3, 1))
    human, weights = np.tile(training.human, 3), np.tile(training.weights, 3)
    many = TrainingSet(rows, human, weights, training.names)
    turned = human.copy()
    turned[many.held_out] ^= True
    settings = msgspec.structs.replace(SETTINGS, widths=(8,))
    found = network.fit(many, settings, np.random.default_rng(1))
    other = network.fit(TrainingSet(rows, turned, weights, training.names), settings, np.random.default_rng(1))
    assert len(many.held_out) == 120
    assert found.graph == other.graph
    assert len(found.curve.held_out) == len(found.curve.seen)
    if found.curve.seen:
        assert found.curve.held_out != other.curve.held_out


def test_the_graph_names_its_features_and_network(network: Any, training: TrainingSet, graph: bytes) -> None:
    """A graph carries the features it wants, in order, and the module it comes from."""
    scorer = Scorer(graph)
    assert scorer.names == training.names
    assert scorer.network == network.__name__.rpartition(".")[2]


def test_the_graph_is_valid_and_takes_any_number_of_rows(graph: bytes) -> None:
    """The graph passes ONNX's own check, and its batch axis is free."""
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert model.graph.input[0].name == "rows"
    assert model.graph.output[0].name == "score"
    assert not shape[0].HasField("dim_value")


def test_scores_lie_between_zero_and_one(graph: bytes, rows: Float32s) -> None:
    """Every finite row, however extreme, scores within [0, 1]."""
    scores = Scorer(graph).score(rows)
    assert scores.dtype == np.float32
    assert scores.shape == (len(rows),)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_scores_do_not_depend_on_the_batch(graph: bytes, rows: Float32s) -> None:
    """A row scores the same bits in a batch of any size from 1 to 130 and at any place in it."""
    scorer = Scorer(graph)
    scores = scorer.score(rows)
    for size in range(1, 131):
        np.testing.assert_array_equal(scorer.score(rows[:size]), scores[:size])
        np.testing.assert_array_equal(scorer.score(rows[-size:]), scores[-size:])


def test_scores_survive_random_splits(graph: bytes, rows: Float32s) -> None:
    """Any split of the rows into batches, in any order, gives the same bits."""
    scorer, generator = Scorer(graph), np.random.default_rng(2)
    scores = scorer.score(rows)
    for _ in range(20):
        order = generator.permutation(len(rows))
        cuts = np.sort(generator.integers(0, len(rows), 12))
        parts = [scorer.score(rows[part]) for part in np.split(order, cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), scores[order])


def test_robots_score_higher(graph: bytes, training: TrainingSet) -> None:
    """On traffic where robots are faster, people who bought score lower on average than the rest."""
    scores = Scorer(graph).score(training.rows)
    assert scores[training.human].mean() < scores[~training.human].mean()


def test_progress_ends_at_one(network: Any, training: TrainingSet) -> None:
    """The share done never falls and ends at exactly one."""
    told: list[float] = []
    network.fit(training, SETTINGS, np.random.default_rng(1), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_fitting_leaves_its_input_alone(network: Any, training: TrainingSet) -> None:
    """Rows that cannot be written to, as Arrow gives them, are fitted and come out unchanged."""
    frozen = TrainingSet(training.rows.copy(), training.human.copy(), training.weights.copy(), training.names)
    for array in (frozen.rows, frozen.human, frozen.weights):
        array.flags.writeable = False
    network.fit(frozen, SETTINGS, np.random.default_rng(1))
    np.testing.assert_array_equal(frozen.rows, training.rows)


def test_two_clicks_are_enough(network: Any, training: TrainingSet) -> None:
    """The smallest training set, one click of each label, is fitted."""
    pair = np.array([np.flatnonzero(training.human)[0], np.flatnonzero(~training.human)[0]])
    tiny = TrainingSet(training.rows[pair], training.human[pair], training.weights[pair], training.names)
    scores = Scorer(network.fit(tiny, SETTINGS, np.random.default_rng(1)).graph).score(tiny.rows)
    assert np.isfinite(scores).all()


def test_a_network_cannot_be_given_what_no_set_allows(training: TrainingSet) -> None:
    """Rows with NaN, no rows, and labels of one class are refused before any network sees them."""
    broken = training.rows.copy()
    broken[7, 2] = np.nan
    everyone = np.ones(len(training.human), dtype=np.bool_)
    with pytest.raises(TrainingError, match=r"velocity_user_1h of row 7 is nan, and must be finite, as in 1 of 4000"):
        TrainingSet(broken, training.human, training.weights, training.names)
    with pytest.raises(TrainingError, match="0 clicks"):
        TrainingSet(training.rows[:0], training.human[:0], training.weights[:0], training.names)
    with pytest.raises(TrainingError, match="4000 of 4000 clicks are labelled human"):
        TrainingSet(training.rows, everyone, training.weights, training.names)
    with pytest.raises(TrainingError, match="0 of 4000 clicks are labelled human"):
        TrainingSet(training.rows, ~everyone, training.weights, training.names)
    with pytest.raises(TrainingError, match="none of the 11 features varies over 4000 clicks"):
        TrainingSet(np.ones_like(training.rows), training.human, training.weights, training.names)


def test_a_constant_feature_changes_no_score(graph: bytes, training: TrainingSet) -> None:
    """A feature that never varied is named, and whatever it is later, scores stay as they were."""
    assert training.constant == ("constant",)
    later = training.rows.copy()
    later[:, training.names.index("constant")] = 1000
    np.testing.assert_array_equal(Scorer(graph).score(later), Scorer(graph).score(training.rows))
