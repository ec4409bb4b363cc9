"""Methods: what a replay decides by, made of the settings of a project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slidr.bundle import Bundle
from slidr.decide import deciders, union_layout
from slidr.features.keys import read_secrets
from slidr.features.layout import compile_catalogue
from slidr.features.slow import SlowTables
from slidr.features.store import EmbeddedStore
from slidr.lake.delta import Lake
from slidr.replay.again import Again, Progress
from slidr.replay.plan import Plan
from slidr.replay.recompute import begin, recompute
from slidr.replay.rescore import rescore
from slidr.rules import prepare_rules
from slidr.settings import Settings, duration


def decided_again(
    settings: Settings, lake: Lake, plan: Plan, bundle: Bundle, states: Sequence[Path], progress: Progress
) -> Iterator[Again]:
    """Yield the clicks of a plan, decided again by its method.

    Args:
        settings: name secret key, slow features and lists.
        lake: has what was journalled.
        plan: the replay.
        bundle: what decides.
        states: files of states that a fold may begin from.
        progress: told how many more clicks are done.

    Raises:
        BundleError: the bundle cannot decide the clicks.
        ReplayError: the lake lacks what the method needs.
        TableError: the lake cannot be read.
    """
    horizon = compile_catalogue(bundle.catalogue).horizon
    pseudonymiser = read_secrets(Path(settings.storage.key_file)).at(plan.start, horizon)
    rules = prepare_rules(settings.rules) if plan.method == "recompute" else ()
    layout = union_layout((bundle,), rules)
    tables = SlowTables(Path(settings.storage.slow), duration(settings.features.slow_age), pseudonymiser.fingerprint)
    store = EmbeddedStore(layout, most=settings.features.most_entities, slow=tables if layout.slow else None)
    decider = deciders((bundle,), lambda _layout: store, pseudonymiser, rules)[0]
    if plan.method == "rescore":
        yield from rescore(lake, plan, decider, progress)
        return
    begun = begin(lake, plan, states, pseudonymiser.fingerprint, layout.horizon)
    yield from recompute(lake, plan, decider, store, begun, progress)
