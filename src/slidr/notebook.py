"""The flow in a notebook: the stages as functions on tables, Arrow, Polars or pandas; what comes in goes out.

log = slidr.read_log("clicks.parquet", "purchases.parquet")
labels = slidr.label(log.clicks, log.purchases)
rows = slidr.backfill(log.clicks)
train, tune, _ = slidr.split(rows)
network = slidr.fit(train, labels)
thresholds = slidr.calibrate(network, tune, labels, log.clicks)
bundle = slidr.make_bundle("bundles", network, thresholds)
decisions = slidr.decider(bundle).decide([slidr.Click(click_id="1", time=now, ip="192.0.2.1")])
table = slidr.decide_clicks(slidr.decider(bundle), log.clicks)
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.typing import IntoDataFrameT
from numpy.typing import NDArray

from slidr import extensions
from slidr.batch import decide_table, decisions_table
from slidr.bundle import Bundle, Contract, Parts, write_bundle
from slidr.calibration.calibrate import calibrate as calibrate_sample
from slidr.clock import Clock, SystemClock
from slidr.daily.parts import numbers, slice_sample
from slidr.decide import Decider, check_serves
from slidr.errors import CalibrationError, LabelError, SettingsError, TableError, nearest
from slidr.features.backfill import backfill as backfill_table
from slidr.features.backfill import feature_rows
from slidr.features.catalogue import Catalogue, default_catalogue
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.ingest import Log
from slidr.ingest import read_log as read_logs
from slidr.labels import label as label_clicks
from slidr.labels import mature
from slidr.lake.schema import arrow_schema, conform
from slidr.model.reference import Reference, reference_of
from slidr.model.scorer import Scorer
from slidr.model.training import Curve, Trained, TrainingSet
from slidr.model.weights import sample_weights
from slidr.settings import FeaturesSettings, Settings, parse_settings
from slidr.tables import CLICKS, DECISIONS, FEATURES, LABELS, PURCHASES, Table, Threshold

NO_SECRET = bytes(16)
"""The key of a notebook's hashes: no secret. A service has a key of its own, made at its first run."""


class Network(NamedTuple):
    """A fitted network: its graph, the features that it reads, and how it learnt."""

    graph: bytes
    catalogue: Catalogue
    curve: Curve = Curve()
    reference: Reference | None = None


def _arrow(table: Any, kind: Table) -> pa.Table:
    """Return a table of any library as Arrow, with the columns and types of ours: a pandas time may count in ns."""
    return conform(kind, nw.from_native(table, eager_only=True).to_arrow())


def _like(example: IntoDataFrameT, table: pa.Table) -> IntoDataFrameT:
    """Return an Arrow table as the library of the example has it."""
    backend = nw.from_native(example, eager_only=True).implementation
    found: IntoDataFrameT = nw.from_arrow(table, backend=backend).to_native()
    return found


def read_log(
    clicks: str, purchases: str = "", *, source: str = "table", clock: Clock | None = None, **options: Any
) -> Log:
    """Read a click log and a purchase log through the door, as Arrow tables.

    Args:
        clicks: the click log: a file, a folder or an address.
        purchases: the purchase log; empty where the click log tells of purchases.
        source: the adapter: talkingdata, weblog or table.
        clock: tells which times lie in the future; the machine's where None.
        options: further keys of the settings' section [clicks], such as columns={"user": "customer_id"}.

    Raises:
        SettingsError, SourceError, TableError: as `slidr.ingest.read_log`.
    """
    settings = parse_settings(
        {"clicks": {"path": clicks, "source": source, **options}, "purchases": {"path": purchases}}
    )
    return read_logs(settings, clock or SystemClock())


def label(
    clicks: IntoDataFrameT, purchases: Any, *, as_of: int | None = None, final: bool = False, **options: Any
) -> IntoDataFrameT:
    """Return LABELS of clicks.

    Args:
        clicks: a table with the columns of CLICKS.
        purchases: a table with the columns of PURCHASES.
        as_of: purchases up to here are known, microseconds UTC; all of them where None.
        final: the log tells the last word on purchases.
        options: keys of the settings' section [labels], such as rfm=False.

    Raises:
        LabelError: no purchase is known.
        TableError: a column is missing or of another type.
        SettingsError: an option is not one, or out of its limits.
    """
    bought = _arrow(purchases, PURCHASES)
    settings = parse_settings({"labels": options}).labels
    end = SystemClock().now() if as_of is None else as_of
    return _like(clicks, label_clicks(_arrow(clicks, CLICKS), bought, as_of=end, settings=settings, final=final))


def backfill(
    clicks: IntoDataFrameT, *, secret: bytes = NO_SECRET, catalogue: Catalogue | None = None
) -> IntoDataFrameT:
    """Return FEATURES of clicks in the order of the table, which must be that of time.

    Raises:
        TableError: a column is missing or of another type.
    """
    chosen = catalogue or default_catalogue(FeaturesSettings())
    return _like(clicks, backfill_table(_arrow(clicks, CLICKS), chosen, Pseudonymiser(secret)))


def split(
    table: IntoDataFrameT, train: float = 0.6, calibrate: float = 0.2
) -> tuple[IntoDataFrameT, IntoDataFrameT, IntoDataFrameT]:
    """Cut a table that is in the order of time into parts to train on, to calibrate on, and to judge on."""
    rows = nw.from_native(table, eager_only=True)
    first, second = int(len(rows) * train), int(len(rows) * (train + calibrate))
    return rows[:first].to_native(), rows[first:second].to_native(), rows[second:].to_native()


def fit(
    rows: Any,
    labels: Any,
    *,
    network: str | None = None,
    catalogue: Catalogue | None = None,
    generator: np.random.Generator | None = None,
    **options: Any,
) -> Network:
    """Fit a network to rows of FEATURES; labels are matched by click_id, and unripe ones are left out.

    Args:
        rows: a FEATURES table.
        labels: a LABELS table that holds the clicks of the rows.
        network: three_layer, logistic, velocity or lightgbm; `model.network`'s default where None.
        catalogue: the catalogue that the rows were made with; the default one where None.
        generator: draws initial weights and the order of clicks; one of `model.seed` where None.
        options: keys of the settings' section [model], such as widths=(64, 32, 16).

    Raises:
        TrainingError: the rows cannot be learned from.
    """
    chosen = catalogue or default_catalogue(FeaturesSettings())
    settings = parse_settings({"model": options}).model
    names = tuple(feature.name for feature in chosen)
    table = _arrow(rows, FEATURES)
    found = _matched(labels, table, LABELS)
    ripe = mature(found)
    matrix = feature_rows(table, names)[ripe]
    human = found["human"].to_numpy()[ripe]
    logged_in = _logged_in(matrix, names)
    times = table["time"].cast(pa.int64()).to_numpy()[ripe]
    weights = sample_weights(times, logged_in, human, cap=settings.weight_cap)
    module = extensions.load("slidr.model.networks", network or settings.network)
    labelled = TrainingSet(matrix, human, weights, names)
    fitted: Trained = module.fit(labelled, settings, generator or np.random.default_rng(settings.seed))
    return Network(fitted.graph, chosen, fitted.curve, reference_of(matrix, human, names) if human.any() else None)


def _logged_in(matrix: NDArray[np.float32], names: tuple[str, ...]) -> NDArray[np.object_]:
    """Return whether each click was logged in, None where that is not known, object[n]."""
    states = np.full(len(matrix), None, np.object_)
    if "logged_in" in names:
        states[:] = matrix[:, names.index("logged_in")] > 0
    if "missing_logged_in" in names:
        states[matrix[:, names.index("missing_logged_in")] > 0] = None
    return states


def calibrate(
    network: Network,
    rows: Any,
    labels: Any,
    clicks: Any,
    *,
    slices: Sequence[str] = ("device", "logged_in"),
    **options: Any,
) -> tuple[Threshold, ...]:
    """Return the thresholds that keep the budget on rows which the network has not seen; unripe labels are left out.

    Args:
        network: what `fit` returned.
        rows: a FEATURES table.
        labels: a LABELS table that holds the clicks of the rows.
        clicks: a CLICKS table that holds them.
        slices: columns of the clicks that slice the traffic, coarse to fine.
        options: keys of the settings' section [calibration], such as fpr_budget=0.01; certificate is
            "off" unless it is given.

    Raises:
        CalibrationError: no ripe labels, no purchases, or no thresholds keep the budget.
    """
    settings = parse_settings({"calibration": {"certificate": "off"} | options}).calibration
    table = _arrow(rows, FEATURES)
    found = _matched(labels, table, LABELS)
    ripe = pa.array(mature(found))
    table, found = table.filter(ripe), found.filter(ripe)
    if not table.num_rows:
        raise CalibrationError(
            f"none of {len(ripe)} labels is ripe: their attribution window had not closed when they were made; label"
            " as of a later time, or calibrate on earlier clicks"
        )
    made = _matched(clicks, table, CLICKS)
    scores = Scorer(network.graph).score(feature_rows(table, tuple(feature.name for feature in network.catalogue)))
    sample = slice_sample(made, scores, numbers(found["purchaser"]), tuple(slices), settings.busy_clicks)
    return calibrate_sample(sample, settings, generator=np.random.default_rng(Settings().model.seed)).thresholds


def _matched(table: Any, rows: pa.Table, kind: Table) -> pa.Table:
    """Return the rows of a table in the order of the click_ids of another."""
    found = _arrow(table, kind)
    places = pc.index_in(rows["click_id"], found["click_id"].combine_chunks())
    if places.null_count:
        raise LabelError(
            f"{kind.name} has no row for {places.null_count} of {rows.num_rows} clicks; make it from the same log"
        )
    return found.take(places)


def make_bundle(
    folder: str | Path,
    network: Network,
    thresholds: tuple[Threshold, ...],
    *,
    slices: Sequence[str] = ("device", "logged_in"),
    ip: Literal["address", "opaque"] = "address",
    secret: bytes = NO_SECRET,
    clock: Clock | None = None,
) -> Bundle:
    """Write a bundle into a folder and return it as it loads.

    Args:
        folder: where bundles lie.
        network: what `fit` returned.
        thresholds: what `calibrate` returned.
        slices: the columns that `calibrate` was given.
        ip: what the ips of the clicks are: addresses, or codes that stand for them.
        secret: the key that `backfill` was given.
        clock: dates the bundle; the machine's where None.

    Raises:
        SettingsError: ip is neither of the two.
        BundleError: a threshold is of other slice columns, or none is set for all traffic.
    """
    if ip not in ("address", "opaque"):
        raise SettingsError(f"ip = {ip!r} is neither 'address' nor 'opaque'")
    contract = Contract(tuple(slices), ip, Pseudonymiser(secret).fingerprint)
    parts = Parts(
        catalogue=network.catalogue,
        graph=network.graph,
        thresholds=thresholds,
        contract=contract,
        reference=network.reference,
    )
    now = (clock or SystemClock()).now()
    bundle = write_bundle(Path(folder), parts, created_at=now, version=version("slidr"))
    check_serves(bundle)
    return bundle


def decider(bundle: Bundle, *, secret: bytes = NO_SECRET) -> Decider:
    """Return a decider with a cold store: the first clicks it is given have no past."""
    return Decider(bundle, EmbeddedStore(compile_catalogue(bundle.catalogue)), Pseudonymiser(secret))


def decide_clicks(decider: Decider, clicks: IntoDataFrameT, *, clock: Clock | None = None) -> IntoDataFrameT:
    """Decide a table of clicks in its order, which must be that of time, and return DECISIONS.

    A click_id that comes again within an hour is decided once, and has one row.

    Args:
        decider: what `decider` returned; the clicks become the past of those that it decides next.
        clicks: a table with the columns of CLICKS, and those that slice the traffic.
        clock: dates the decisions; the machine's where None.

    Raises:
        TableError: a column is missing or of another type.
    """
    table = _arrow(clicks, CLICKS)
    for column in decider.columns:
        if column not in table.column_names:
            raise TableError(
                f"column {column!r}, which the bundle's slices are made of, is missing;"
                f" {nearest(column, table.column_names)}",
                column=column,
            )
    now = (clock or SystemClock()).now()
    made = [decisions_table(decisions, decided_at=now, cause="live") for decisions in decide_table(decider, table)]
    return _like(clicks, pa.concat_tables(made or [arrow_schema(DECISIONS).empty_table()]))
