from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from tests.learned import Learned

from slidr.daily.ablation import WEIGHTS, WHOLE, Variation, ablate, variations
from slidr.errors import LabelError


def test_every_part_of_the_method_is_left_out_once(learned: Learned) -> None:
    """Weights, slices, RFM labels and every kind of feature stand among the variations, no two alike."""
    names = [one.name for one in variations(learned.run)]
    kinds = {type(feature).__name__ for feature in learned.run.catalogue}
    assert names[0] == WHOLE
    assert len(set(names)) == len(names) == 4 + len(kinds)
    assert {f"{kind} features" for kind in kinds} < set(names)


def test_what_is_left_out_is_learnt_without(learned: Learned) -> None:
    """Without a kind of features fewer are left; without slices the same network decides otherwise."""
    truth = pq.read_table(learned.folder / "logs" / "truth")
    chosen = [Variation(WHOLE), Variation("slices", one_threshold=True), Variation("Gap features", without="Gap")]
    whole, flat, gapless = ablate(learned.run, truth, chosen)
    assert (whole.variation, flat.variation, gapless.variation) == tuple(one.name for one in chosen)
    assert flat.features == whole.features > gapless.features
    assert flat != whole
    for found in (whole, flat, gapless):
        assert 0 <= found.ivr <= 1
        assert found.recall is not None
        assert 0 < found.recall <= 1


def test_without_the_truth_nothing_true_is_said(learned: Learned) -> None:
    """On a real log recall and true false-positive rate are None."""
    (found,) = ablate(learned.run, None, [Variation(WEIGHTS, weighted=False)])
    assert (found.recall, found.sparse_recall, found.true_fpr) == (None, None, None)


def test_the_truth_of_another_log_is_refused(learned: Learned) -> None:
    """Before anything is learnt."""
    truth = pq.read_table(learned.folder / "logs" / "truth").slice(0, 10)
    with pytest.raises(LabelError, match="the truth lacks"):
        next(ablate(learned.run, truth))
