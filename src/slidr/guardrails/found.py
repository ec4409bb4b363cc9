"""Found: findings in the words that all guardrails share."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from slidr.evaluation.results import Finding
from slidr.guardrails.seen import ModelSeen, Seen
from slidr.settings import GuardrailsSettings

Numbers = dict[str, float | int | str | None]


def data_finding(
    module: str,
    limits: GuardrailsSettings,
    keys: tuple[str, ...],
    numbers: Mapping[str, float | int | str | None],
    fault: str,
) -> Finding:
    """Return the finding of a guardrail of the data.

    Args:
        module: the `__name__` of the guardrail's module.
        limits: the settings.
        keys: names of the limits that it keeps.
        numbers: what it counted.
        fault: what is wrong, in words that follow a colon; empty where nothing is.
    """
    name = module.rpartition(".")[2]
    limit = {key: value for key, value in msgspec.structs.asdict(limits).items() if key in keys}
    if not fault:
        return Finding(name, "data", True, dict(numbers), limit, "within its limits")
    return Finding(name, "data", False, dict(numbers), limit, _refusal(name, fault, limit))


def model_finding(
    module: str,
    limits: GuardrailsSettings,
    keys: tuple[str, ...],
    numbers: Mapping[str, float | int | str | None],
    fault: str,
) -> Finding:
    """Return the finding of a guardrail of the model; see `data_finding`."""
    return msgspec.structs.replace(data_finding(module, limits, keys, numbers, fault), kind="model")


def nothing_seen(module: str, limits: GuardrailsSettings, keys: tuple[str, ...], why: str) -> Finding:
    """Return the finding of a guardrail that has nothing to look at, and why; such a one passes."""
    found = data_finding(module, limits, keys, {}, "")
    return msgspec.structs.replace(found, message=why)


def model_of(seen: Seen) -> ModelSeen:
    """Return what was seen of the model.

    Raises:
        ValueError: nothing was, for guardrails of the model are asked once there is one.
    """
    if seen.model is None:
        raise ValueError("a guardrail of the model was asked before a model was judged")
    return seen.model


def _refusal(name: str, fault: str, limit: dict[str, float | int | str]) -> str:
    told = ", ".join(f"guardrails.{key} = {value}" for key, value in limit.items())
    return (
        f"guardrail {name} refuses: {fault}; limit: {told}. Mend what it names and run again, or publish all the same"
        f" with `slidr daily --override {name} --why TEXT`, which is written to the audit log"
    )
