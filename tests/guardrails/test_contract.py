"""What every guardrail must do, whichever it is; one that is added is tested by the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.guardrails.seeing import found, good

from slidr.evaluation.results import Finding, Override
from slidr.extensions import load, names
from slidr.guardrails import CHECKS, guard, guardrails
from slidr.settings import GuardrailsSettings
from slidr.settings.document import meaning_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", names(CHECKS))
def test_a_guardrail_says_what_it_prevents_and_passes_on_a_good_day(name: str) -> None:
    """Its docstring says what it prevents, its limits are documented settings, and a good day passes."""
    module = load(CHECKS, name)
    assert (module.__doc__ or "").startswith("Prevents that ")
    assert module.KIND in {"data", "model"}
    finding = found(name, good())
    assert finding.passed, finding.message
    assert (finding.name, finding.kind, finding.override) == (name, module.KIND, None)
    assert finding.limit
    for key, value in finding.limit.items():
        assert value == getattr(GuardrailsSettings(), key)
        assert meaning_of(GuardrailsSettings, key)
    msgspec.json.decode(msgspec.json.encode(finding), type=Finding)
    assert f"`{name}`" in (ROOT / "docs" / "guardrails.md").read_text("utf-8")


@pytest.mark.parametrize("name", names(CHECKS))
def test_a_guardrail_has_a_test_in_which_it_fails(name: str) -> None:
    """The tests of the checks refuse by every one of them."""
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*_checks.py"))
    assert f'refused("{name}"' in tests


def test_every_limit_belongs_to_a_guardrail() -> None:
    """No setting of the section limits nothing."""
    limits = {
        key for kind in ("data", "model") for one in guard(good(), GuardrailsSettings(), kind) for key in one.limit
    }
    assert limits == {*GuardrailsSettings.__struct_fields__} - {"golden_clicks"}


def test_all_guardrails_of_a_kind_are_asked() -> None:
    """None is left out because another one refuses, and they come in the order of their names."""
    findings = guard(good(silence=10**15, duplicates=0.9), GuardrailsSettings(), "data")
    assert [one.name for one in findings] == list(guardrails("data"))
    assert {one.name for one in findings if one.refuses} == {"freshness", "duplicates"}
    assert set(guardrails()) == {*guardrails("data"), *guardrails("model")}


def test_an_override_stands_in_the_finding() -> None:
    """A finding that somebody lets pass is still no pass, and no longer refuses."""
    finding = found("duplicates", good(duplicates=0.9))
    let = msgspec.structs.replace(finding, override=Override("me", "a known feed", 1))
    assert (finding.refuses, let.refuses, let.passed) == (True, False, False)
