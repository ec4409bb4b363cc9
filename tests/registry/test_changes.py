"""What changed of settings and lists is recorded once, without what is secret."""

from __future__ import annotations

from pathlib import Path

from slidr.audit import Audit
from slidr.registry import record_changes, record_lists
from slidr.registry.changes import settings_document
from slidr.rules import prepare_rules
from slidr.settings import RulesSettings, parse_settings

WHO = {"subject": "service", "at": 1, "who": "ann", "why": "a test"}


def test_passwords_in_addresses_are_left_out() -> None:
    """Of every setting, wherever it holds an address; its place stays."""
    document = {
        "store": {"redis": ["redis://ann:secret@one:6379"]},
        "monitor": {"webhook": "https://bob:secret@hooks.example/x"},
    }
    told = settings_document(parse_settings(document))
    assert told["store"]["redis"] == ["redis://one:6379"]
    assert told["monitor"]["webhook"] == "https://hooks.example/x"
    assert "secret" not in str(told)


def test_only_what_differs_is_recorded(tmp_path: Path) -> None:
    """The same again adds nothing; another list adds one record, which lists alone find as settings and lists do."""
    audit, settings = Audit(tmp_path), parse_settings({})
    rules = prepare_rules(settings.rules)
    assert [one.kind for one in record_changes(audit, settings, rules, **WHO)] == ["settings", "lists"]  # type: ignore[arg-type]
    assert record_changes(audit, settings, rules, **WHO) == ()  # type: ignore[arg-type]
    (tmp_path / "deny.csv").write_text("user,ann\n", encoding="utf-8")
    other = prepare_rules(RulesSettings(deny=(str(tmp_path / "deny.csv"),)))
    record = record_lists(audit, other, **WHO)  # type: ignore[arg-type]
    assert record is not None
    assert record_lists(audit, other, **WHO) is None  # type: ignore[arg-type]
    assert record.details["changed"]["deny"][0] is None
