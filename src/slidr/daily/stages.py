"""The stages of the daily flow; each reads the tables of those before it and writes its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from slidr import extensions
from slidr.daily.parts import read_part
from slidr.daily.plan import Run
from slidr.daily.stamps import identity, require, stamp, withdraw
from slidr.daily.training import training_set
from slidr.errors import SettingsError
from slidr.features.days import Backfill, Backfilled, Moment
from slidr.labels import label
from slidr.model.reference import Reference, reference_of
from slidr.model.scorer import Scorer
from slidr.model.training import Trained, TrainingSet
from slidr.model.weights import check_days
from slidr.tables import CLICKS, LABELS, PURCHASES, SCORES

_NETWORKS = "slidr.model.networks"
REFERENCE = "reference.json"


def label_clicks(run: Run) -> pa.Table:
    """Write LABELS of the run's clicks and return them."""
    run.progress("label", 0)
    withdraw(run, "label")
    clicks = run.lake.read(CLICKS, start=run.split.train[0], end=run.split.judge[1])
    purchases = run.lake.read(PURCHASES, end=run.as_of)
    labels = label(
        clicks,
        purchases,
        as_of=run.as_of,
        # As of the training date: what accounts buy later must not reach the training.
        accounts_as_of=run.split.train[1],
        settings=run.settings.labels,
        final=run.final,
    )
    run.lake.write(LABELS, labels)
    stamp(run, "label")
    run.progress("label", 1)
    return labels


def backfill_features(run: Run, *, state_before_judging: Path | None = None) -> Backfilled:
    """Write FEATURES of the run's clicks, and the state behind the lake's newest click, where a new service starts.

    What was folded by an earlier run, and has not changed since, is not folded again.

    Args:
        run: the run.
        state_before_judging: where to write the state as it was before the judging part, so that this part can be
            served live.
    """
    withdraw(run, "backfill")
    moment = None if state_before_judging is None else Moment(run.split.judge[0], state_before_judging)

    def progress(done: int, total: int) -> None:
        run.progress("backfill", min(done / (total + 1), 1))

    # What lies before the training part only warms the state.
    backfill = Backfill(run.lake, run.settings, run.catalogue, run.pseudonymiser, run.as_of)
    done = backfill.run(progress, since=run.split.train[0], moment=moment)
    stamp(run, "backfill")
    run.progress("backfill", 1)
    return done


def train_networks(run: Run) -> dict[str, Trained]:
    """Fit the networks of the settings on the training part, and write SCORES of the one that decides.

    Beside each graph, NAME.onnx, lies NAME.json with its learning curve and the features that never varied; beside them
    reference.json says what is usual of the clicks labelled human. A training that was stopped goes on from its
    checkpoint when the same run is trained again.

    Raises:
        SettingsError: a network of the settings does not exist, or a stage before was not done.
        TrainingError: the clicks cannot be learnt from.
    """
    run.progress("train", 0)
    require(run, "label", "backfill")
    settings = run.settings.model
    # Before anything is read: a misspelt name is refused at once.
    networks = tuple(dict.fromkeys((settings.network, *settings.peers)))
    for name in networks:
        extensions.load(_NETWORKS, name)
    part = read_part(run, run.split.train)
    check_days(part.times, part.human, run.settings.timezone)
    training = training_set(run, part)
    withdraw(run, "train")
    trained = {name: _fit(run, name, training) for name in networks}
    _keep(run, trained, training)
    write_scores(run, trained[run.settings.model.network].graph)
    stamp(run, "train")
    run.progress("train", 1)
    return trained


def write_scores(run: Run, graph: bytes) -> None:
    """Write SCORES of the calibration and of the judging part."""
    scorer = Scorer(graph)
    written = []
    for span in (run.split.calibrate, run.split.judge):
        scored = read_part(run, span)
        columns = {"click_id": scored.clicks["click_id"], "time": scored.clicks["time"]}
        written.append(pa.table(columns | {"score": pa.array(scorer.score(scored.rows))}))
    # In one write, for both parts may lie in one day, and a write replaces the days that it holds.
    run.lake.write(SCORES, pa.concat_tables(written))


def _fit(run: Run, name: str, training: TrainingSet) -> Trained:
    folder = Path(run.settings.storage.networks)
    folder.mkdir(parents=True, exist_ok=True)
    fitted: Trained = extensions.load(_NETWORKS, name).fit(
        training,
        run.settings.model,
        np.random.default_rng(run.settings.model.seed),
        lambda share: run.progress(f"train {name}", share),
        folder / f"{name}-{identity(run, 'train')}.checkpoint",
    )
    return fitted


def _keep(run: Run, trained: dict[str, Trained], training: TrainingSet) -> None:
    """Write graphs, curves and what is usual of people in place of those of earlier runs."""
    folder = Path(run.settings.storage.networks)
    for path in (*folder.glob("*.onnx"), *folder.glob("*.checkpoint")):
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
    for name, fitted in trained.items():
        (folder / f"{name}.onnx").write_bytes(fitted.graph)
        told = {"curve": fitted.curve, "constant": training.constant, "difference": fitted.difference}
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(told))
    reference = reference_of(training.rows, training.human, training.names)
    (folder / REFERENCE).write_bytes(msgspec.json.encode(reference))


def read_networks(run: Run) -> dict[str, bytes]:
    """Return the graphs that `train_networks` wrote.

    Raises:
        SettingsError: there are none, or they are of another run.
    """
    require(run, "train")
    found = {path.stem: path.read_bytes() for path in sorted(Path(run.settings.storage.networks).glob("*.onnx"))}
    if (network := run.settings.model.network) not in found:
        raise SettingsError(f"{run.settings.storage.networks} holds no {network}.onnx; run `slidr train` first")
    return found


def read_reference(run: Run) -> Reference:
    """Return what is usual of the people whom the training part shows, as `train_networks` wrote it.

    Raises:
        SettingsError: there is none, or it is of another run.
    """
    require(run, "train")
    path = Path(run.settings.storage.networks) / REFERENCE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Reference)
    except (OSError, msgspec.MsgspecError) as fault:
        raise SettingsError(f"{path} cannot be read ({fault}); run `slidr train` again") from None
