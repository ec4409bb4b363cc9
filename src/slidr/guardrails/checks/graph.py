"""Prevents that the ONNX graph which serves scores otherwise than the network that was trained."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import model_finding, model_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "model"


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where a score by the graph and one by PyTorch, or whatever trained the network, lie apart."""
    difference = model_of(seen).difference
    fault = ""
    if not difference <= limits.most_graph_difference:
        fault = f"a score by the ONNX graph differs by {difference:.1e} from the one by what trained it"
    return model_finding(__name__, limits, ("most_graph_difference",), {"difference": difference}, fault)
