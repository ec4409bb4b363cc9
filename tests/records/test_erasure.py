"""Erasure end to end: not a byte of a person is left, and everything that was billed is."""

from __future__ import annotations

import errno
import shutil
from itertools import cycle
from pathlib import Path

import msgspec
import numpy as np
import pytest
from deltalake import DeltaTable
from deltalake.table import TableAlterer
from tests import small
from tests.replayed import KEY, NOW, bundles, clicks_of, holding, plan_of

from slidr.audit import Audit
from slidr.clock import DAY, HOUR, ManualClock
from slidr.decide import Decider
from slidr.errors import JournalError, SlidrError
from slidr.features.keys import KeyRing, Secret
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal, Purchase
from slidr.lake.delta import Lake
from slidr.records.erasure import Erased, Erasure, erase
from slidr.records.lake_erasure import ERASED
from slidr.replay.recompute import begin, recompute
from slidr.replay.running import publish
from slidr.service.answers import Recorder
from slidr.ship import ship
from slidr.tables import CLICKS, ROWS

USER = "somebody@example.com"
RING = KeyRing((Secret(small.SECRET, 0),))
ASKED = Erasure(USER, NOW, "me", "request 17")


def served(folder: Path) -> Lake:
    """Return the lake of a service, some of whose clicks somebody made, and leave its journal beside it."""
    good, _ = bundles(folder)
    somebody = {"user": USER, "session": f"{USER}-s", "user_agent": f"{USER}-agent"}
    clicks = [msgspec.structs.replace(one, **somebody) if one.user == "ada" else one for one in clicks_of(200)]
    lake = Lake(str(folder / "lake"))
    lake.write(CLICKS, small.table_of(clicks))
    decider = Decider(good, EmbeddedStore(compile_catalogue(small.CATALOGUE)), KEY)
    with Journal(folder / "journal.sqlite") as journal:
        journal.declare(decider.context)
        journal.append(Recorder("j").entries(decider.decide(clicks), clicks, NOW - DAY))
        journal.report([Purchase("p", NOW - DAY, hashed(), "click-3", 1, "EUR", NOW - DAY)])
        ship(lake, [journal], clock=ManualClock(NOW), keep=25 * HOUR)
    return lake


def hashed() -> int:
    """Return the keyed hash of the account, as SQLite has it."""
    return int(np.uint64(KEY.texts([USER])[0]).view(np.int64))


def bytes_left(folder: Path) -> list[str]:
    """Return the files that hold the account's name or its hash."""
    sought = (USER.encode(), int(KEY.texts([USER])[0]).to_bytes(8, "little"), hashed().to_bytes(8, "big", signed=True))
    files = [path for path in folder.rglob("*") if path.is_file() and "bundles" not in path.parts]
    return [path.name for path in files if any(one in path.read_bytes() for one in sought)]


def erased(folder: Path, lake: Lake, *, dry: bool = False) -> Erased:
    """Erase the account."""
    with Journal(folder / "journal.sqlite") as journal:
        return erase(lake, [journal], Audit(folder / "registry"), RING, ASKED, dry=dry)


def test_nothing_of_a_person_is_left(tmp_path: Path) -> None:
    """Neither name nor hash are in any file of lake, journal and audit log; decisions are what they were."""
    lake = served(tmp_path)
    before, said = bytes_left(tmp_path), holding(lake)
    assert any(name.endswith(".parquet") for name in before)
    assert "journal.sqlite" in before
    counted = erased(tmp_path, lake, dry=True)
    assert (bytes_left(tmp_path), counted.entries) == (before, 0)
    done = erased(tmp_path, lake)
    assert done.rows == counted.rows
    assert done.rows["clicks"] == done.rows["rows"] == done.entries > 20
    assert done.purchases == 1
    assert bytes_left(tmp_path) == []
    assert holding(lake) == said
    again = erased(tmp_path, lake)
    assert (sum(again.rows.values()), again.purchases) == (0, 0)


class Killed(BaseException):
    """Ends an erasure as a kill does: nothing behind it is done."""


class Ending:
    """Tells the steps of an erasure, and ends it before one of them.

    Args:
        patch: puts itself before the steps.
        before: the place of the step; none has -1.
        fault: what ends it.

    Attributes:
        steps: those that were begun.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, before: int | None = None, fault: BaseException | None = None
    ) -> None:
        self.steps: list[str] = []
        self._before, self._fault = before, fault
        for owner, name in (
            *((Lake, name) for name in ("write", "open")),
            *((Journal, name) for name in ("erase", "_transaction")),
            *((DeltaTable, name) for name in ("vacuum", "create_checkpoint", "cleanup_metadata")),
            (TableAlterer, "set_table_properties"),
            (Audit, "extend"),
        ):
            self._tell(patch, owner, name)

    def _tell(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        go = getattr(owner, name)

        def step(*arguments: object, **named: object) -> object:
            if len(self.steps) == self._before and self._fault is not None:
                raise self._fault
            self.steps.append(name)
            return go(*arguments, **named)

        patch.setattr(owner, name, step)

    def kinds(self) -> list[int]:
        """Return the place of the first step of each kind: what it is, and what was done before it."""
        pairs = list(zip([None, *self.steps], self.steps, strict=False))
        return sorted({pair: place for place, pair in reversed(list(enumerate(pairs)))}.values())


def test_an_erasure_that_was_ended_is_done_by_the_next(tmp_path: Path) -> None:
    """Ended before a step of any kind, by a kill or a full disk, and asked for again, it leaves what it does whole."""
    lake = served(tmp_path / "served")
    said = holding(lake)
    shutil.copytree(tmp_path / "served", tmp_path / "whole")
    whole = Lake(str(tmp_path / "whole" / "lake"))
    with pytest.MonkeyPatch.context() as patch:
        ending = Ending(patch)
        erased(tmp_path / "whole", whole)
    assert len(ending.steps) > 30
    faults = cycle((Killed(), OSError(errno.ENOSPC, "No space left on device")))
    for place in ending.kinds():
        folder = tmp_path / str(place)
        shutil.copytree(tmp_path / "served", folder)
        mine = Lake(str(folder / "lake"))
        with pytest.MonkeyPatch.context() as patch:
            Ending(patch, place, next(faults))
            with pytest.raises((Killed, OSError, SlidrError)):
                erased(folder, mine)
        assert holding(mine) == said
        erased(folder, mine)
        assert (place, bytes_left(folder)) == (place, [])
        assert holding(mine) == said
        assert tables(mine) == tables(whole)
        assert not Audit(folder / "registry").verify().faults


def tables(lake: Lake) -> list[object]:
    """Return what the tables hold in which somebody was, and what they say of how long their log is kept."""
    found: list[object] = []
    for table in ERASED:
        if lake.exists(table):
            held = lake.read(table)
            found += [sorted(map(str, held.to_pylist())), lake.open(table).metadata().configuration]
    return found


def test_the_audit_log_names_nobody(tmp_path: Path) -> None:
    """It tells that an erasure began and was done, and its chain holds."""
    lake, audit = served(tmp_path), Audit(tmp_path / "registry")
    done = erased(tmp_path, lake)
    told = [(one.kind, one.subject, one.details["state"], one.why) for one in audit.records()]
    assert told == [("erase", done.subject, state, "request 17") for state in ("begun", "done")]
    assert not audit.verify().faults
    assert USER not in str(audit.records())


def test_a_replay_leaves_erased_clicks_alone(tmp_path: Path) -> None:
    """Nothing is missing from the order of the fold, and a click whose identifiers are gone keeps its decision."""
    lake = served(tmp_path)
    kept = lake.read(ROWS, columns=["sequence"])["sequence"].to_pylist()
    done = erased(tmp_path, lake)
    assert lake.read(ROWS, columns=["sequence"])["sequence"].to_pylist() == kept
    good, _ = bundles(tmp_path)
    plan = plan_of(lake, good, method="recompute")
    store = EmbeddedStore(compile_catalogue(good.catalogue))
    decider = Decider(good, store, KEY)
    begun = begin(lake, plan, [], KEY.fingerprint, decider.layout.horizon)
    outcome = publish(lake, plan, recompute(lake, plan, decider, store, begun), "UTC")
    assert outcome.tally.left >= done.rows["rows"]


def test_what_was_not_shipped_is_shipped_without_features(tmp_path: Path) -> None:
    """The rows of entries that the lake has not got are emptied in the journal, and come to the lake as they are."""
    lake, empty = served(tmp_path), Lake(str(tmp_path / "empty"))
    done = erased(tmp_path, lake)
    with Journal(tmp_path / "journal.sqlite", write=False) as journal:
        ship(empty, [journal], clock=ManualClock(NOW), keep=25 * HOUR)
    rows = empty.read(ROWS, columns=["row"])["row"].to_pylist()
    assert sum(not row for row in rows) == done.entries


def test_a_journal_in_use_is_refused(tmp_path: Path) -> None:
    """What a service holds is not changed under its hands."""
    served(tmp_path)
    with Journal(tmp_path / "journal.sqlite"), pytest.raises(JournalError, match="in use"):
        Journal(tmp_path / "journal.sqlite")
