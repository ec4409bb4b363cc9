"""Card: what a model is, what it may be used for, and where it ends.

The headings follow Mitchell et al., "Model Cards for Model Reporting", 2019; its figures are those of the report.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from slidr.daily.plan import Run
from slidr.evaluation.results import Assurance, ModelCard
from slidr.settings import ModelSettings

_PACKAGES = ("slidr", "numpy", "scipy", "torch", "scikit-learn", "lightgbm", "onnxruntime", "pyarrow", "deltalake")
_USE = (
    (
        "Deciding which ad clicks advertisers are not billed for, click by click or in batches, where a wrong mark"
        " costs one click's revenue."
    ),
    (
        "Not for judging people: a mark says that a click looks like those that never buy, not who made it. It is no"
        " ground for refusing service, closing an account or withholding what a person is owed."
    ),
)
_LIMITS = (
    "Labels come from purchases: people who never buy look like robots to them, and robots that buy look like people.",
    (
        "The false-positive rate is counted over purchasing clicks; it is that of all people only as far as buyers"
        " stand for them. The proxy check says how far it may be off."
    ),
    (
        "The budget was kept on past days, and holds for days like them. New robots, new campaigns and gaps in the"
        " purchase log all move it: retrain, and read this report, every day."
    ),
    "An address or account that was never seen has no counts, so its first clicks are decided by little.",
)


def model_card(run: Run, graph: bytes, assurance: Assurance) -> ModelCard:
    """Return the card of the network that decides.

    Args:
        run: the run.
        graph: the network's, whose size is told.
        assurance: what is promised of its thresholds.
    """
    settings = run.settings
    labels, calibration, model = settings.labels, settings.calibration, settings.model
    features = tuple(feature.name for feature in run.catalogue)
    rfm = f" or of accounts with an RFM score of {labels.rfm_minimum} or more over {labels.rfm_history}"
    facts = (
        ("network", f"{model.network}{_shape(model)}: {len(features)} features in, {len(graph) / 1e3:,.0f} kB"),
        ("compared with", ", ".join(model.peers) or "no other network"),
        (
            "human labels",
            f"clicks followed by a purchase within {labels.attribution_window}{rfm if labels.rfm else ''}",
        ),
        ("sample weights", f"by hour of the week, login and label, at most {model.weight_cap:g} medians"),
        ("false-positive budget", f"{100 * calibration.fpr_budget:.4g} % of purchasing clicks"),
        ("thresholds", f"{assurance.method}, {_slices(settings.slices.columns)}"),
        ("certificate", "certified" if assurance.certificate else "uncertified"),
        ("seed", str(model.seed)),
        ("versions", ", ".join([f"Python {platform.python_version()}", *_versions()])),
    )
    return ModelCard(facts, features, _USE, _LIMITS)


def _shape(model: ModelSettings) -> str:
    return f" ({' x '.join(map(str, model.widths))})" if model.network == "three_layer" else ""


def _slices(columns: tuple[str, ...]) -> str:
    return f"by {' x '.join(columns)}" if columns else "one for all clicks"


def _versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue  # An optional package that this run did not need.
    return found
