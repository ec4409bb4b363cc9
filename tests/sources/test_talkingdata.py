from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from slidr.clock import SECOND
from slidr.errors import SourceError
from slidr.lake.door import admit_clicks, admit_purchases
from slidr.settings import ClicksSettings, PurchasesSettings
from slidr.sources import talkingdata

NOW = 1_800_000_000 * SECOND


def settings(path: Path) -> ClicksSettings:
    """Return the settings of a TalkingData log."""
    return ClicksSettings(source="talkingdata", path=str(path), ip="opaque")


def test_rows_become_clicks_and_installs_become_purchases(tmp_path: Path) -> None:
    """The user is ip-device-os, the click is named after file and row, and an install names its click."""
    path = tmp_path / "day.csv"
    path.write_text(talkingdata.EXAMPLE)
    (feed,) = talkingdata.read(settings(path), PurchasesSettings())
    assert feed.clicks is not None
    assert feed.purchases is not None
    assert feed.clicks.slice(0, 1).to_pylist() == [
        {
            "click_id": "day-0",
            "time": "2017-11-07 14:27:13Z",
            "user": "73487-1-9",
            "session": None,
            "ip": "73487",
            "user_agent": "1-9",
            "device": "1",
            "logged_in": None,
            "campaign": "18",
            "advertiser": "121",
            "app": "18",
            "channel": "121",
            "os": "9",
        }
    ]
    assert feed.purchases.to_pylist() == [
        {"purchase_id": "day-2-install", "time": "2017-11-07 14:33:01Z", "user": "58978-0-24", "click_id": "day-2"}
    ]


def test_addresses_must_be_declared_opaque(tmp_path: Path) -> None:
    """Encoded addresses would all be rejected at the door, so the setting is asked for first."""
    with pytest.raises(SourceError, match=r"set clicks\.ip = 'opaque'"):
        list(talkingdata.read(ClicksSettings(path=str(tmp_path)), PurchasesSettings()))


def test_settings_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    """A mapping or a purchase log beside a log that has both is a mistake worth telling."""
    with pytest.raises(SourceError, match=r"remove clicks\.columns"):
        list(talkingdata.read(ClicksSettings(path=str(tmp_path), columns={"user": "ip"}), PurchasesSettings()))
    with pytest.raises(SourceError, match="reads no purchases"):
        list(talkingdata.read(ClicksSettings(path=str(tmp_path)), PurchasesSettings(path="p.csv")))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """Files of one name in two folders would give the same identifiers."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "day.csv").write_text(talkingdata.EXAMPLE)
    with pytest.raises(SourceError, match="are all called 'day'"):
        list(talkingdata.read(settings(tmp_path), PurchasesSettings()))


@pytest.mark.parametrize(("name", "installs"), [("sample_100k.csv.gz", 227), ("window_2017-11-07_1424.csv.gz", 244)])
def test_the_real_log_passes_the_door_whole(data: Path, name: str, installs: int) -> None:
    """All 100,000 clicks of either file are admitted, duplicates included, and so are all installs."""
    log = settings(data / "talkingdata" / name)
    feeds = list(talkingdata.read(log, PurchasesSettings()))
    raw = pa.concat_tables([feed.clicks for feed in feeds if feed.clicks is not None])
    clicks, rejections = admit_clicks(raw, settings=log, now=NOW)
    assert (clicks.num_rows, rejections.summary()) == (100_000, ())
    bought = pa.concat_tables([feed.purchases for feed in feeds if feed.purchases is not None])
    purchases, rejections = admit_purchases(bought, settings=log, now=NOW)
    assert (purchases.num_rows, rejections.summary()) == (installs, ())
