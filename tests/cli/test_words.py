"""What a judged run says: the parts with dates and sizes, the notes, and then the numbers."""

from __future__ import annotations

import json

from tests.learned import Learned

from slidr.cli.words import judgement, judgement_document


def test_a_judgement_tells_what_it_rests_on(learned: Learned) -> None:
    """Each part has its dates, its clicks and its purchasing clicks, and every note stands before the networks."""
    evaluation = learned.evaluation
    text = judgement(evaluation, "a fact", "another")
    parts, facts, notes, *_ = text.split("\n\n")
    rows = {line.split()[0]: line for line in parts.splitlines()[2:]}
    for name, span in (("train", evaluation.train), ("calibrate", evaluation.calibrate), ("judge", evaluation.judge)):
        assert f" {span.clicks:,} " in rows[name]
        assert rows[name].endswith(f" {span.purchases:,}")
    assert "2026-03-10 00:00:00  2026-03-11 00:00:00" in rows["judge"]
    assert facts == "a fact\nanother"
    assert evaluation.notes
    assert notes.splitlines() == [f"note: {note}" for note in evaluation.notes]
    assert text.index("note: ") < text.index("three_layer")


def test_a_judgement_speaks_to_machines(learned: Learned) -> None:
    """The document holds the same as JSON, with the dates in ISO 8601."""
    document = json.loads(json.dumps(judgement_document(learned.evaluation)))
    assert document["parts"]["judge"] == {
        "from": "2026-03-10T00:00:00+00:00",
        "until": "2026-03-11T00:00:00+00:00",
        "clicks": learned.evaluation.judge.clicks,
        "purchasing_clicks": learned.evaluation.judge.purchases,
    }
    assert document["notes"] == list(learned.evaluation.notes)
    assert document["networks"][0]["network"] == "three_layer"
