"""Backfill: a log in a table through the same fold, with the same bits as click by click."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small

from slidr.addresses import network
from slidr.clock import SystemClock
from slidr.features.backfill import (
    _keys,
    _network_keys,
    _strings,
    backfill,
    encode_table,
    feature_rows,
    features_table,
    fold_table,
)
from slidr.features.catalogue import Catalogue, Clicks, catalogue_hash, check_catalogue
from slidr.features.clicks import Click, click_type, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.ingest import read_log
from slidr.lake.schema import conform
from slidr.settings import parse_settings
from slidr.tables import CLICKS, FEATURES

PSEUDONYMISER = Pseudonymiser(small.SECRET)
ODD = [
    "1.2.3.4", "1.2.3", "1.2.3.", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.1.1.256", "0.0.0.1", "255.255.255.255",
    "1..2.3", ".1.2.3", "1.2.3.4 ", " 1.2.3.4", "1234.1.1.1", "1.2.3.4444", "", "x", "2001:db8::1",
    "2001:DB8:0:0::1", "2001:db8:0:1::1", "::ffff:1.2.3.4", "::1.2.3.4", "::", "fe80::1%eth0",
    "1.2.3.4\0", "1.2.3.\u0664",
    "1.2.3.-4", "1.2.3.+4", "1.2.3.0x4", "73487",
    "2a04:24d5:9f2f:ae7f:a59e:cc36:cf25:4296", "2A04:24d5:9F2f:ae7f:a59e:cc36:cf25:4296", "1:2:3:4:5:6:7:8",
    "0:0:0:0:0:ffff:102:304", "1:0:0:4:5:6:7:0", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7:8:9",
    ":2:3:4:5:6:7:8", "1:2:3:4:5:6:7:12345", "00001:2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "1:2:3:4:5:6:7:g",
    "1:2:3:4:5:6:7:8 ", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:8%0", "\x11:2:3:4:5:6:7:8", "@:2:3:4:5:6:7:8",
    "0000:1:2:3:4:5:6:7",
]  # fmt: skip
octets = st.integers(0, 300).map(str)
quads = st.lists(octets, min_size=3, max_size=5).map(".".join)
addresses = (
    st.none() | quads | st.ip_addresses().map(str) | st.sampled_from(ODD) | st.text("0123456789.:af", max_size=9)
)


def network_keys(column: pa.Array) -> NDArray[np.uint64]:
    """Return the keys of the networks of a column of addresses."""
    return _network_keys(column, _keys(column, PSEUDONYMISER), PSEUDONYMISER)


@given(st.lists(addresses, max_size=40), st.integers(0, 5))
def test_networks_of_a_table_equal_single_ones(texts: list[str | None], skipped: int) -> None:
    """IPv4, IPv6, mapped, malformed and null addresses have the network in a column that each has alone."""
    column = pa.chunked_array([pa.array(texts, pa.string()).slice(skipped), pa.array(texts, pa.string())])
    expected = PSEUDONYMISER.blobs([network(text) for text in (*texts[skipped:], *texts)])
    np.testing.assert_array_equal(network_keys(_strings(column)), expected)


@pytest.mark.parametrize("text", ODD)
def test_odd_addresses(text: str) -> None:
    """Every spelling that could fool a fast parser has the network that the full one gives."""
    found = network_keys(pa.array([text], pa.large_string()))
    np.testing.assert_array_equal(found, PSEUDONYMISER.blobs([network(text)]))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 59))
def test_a_table_encodes_as_its_clicks(layout: Layout, seed: int, count: int, skipped: int) -> None:
    """The batch of a table, or of a slice of it, is that of its clicks, bit for bit."""
    clicks = small.random_clicks(count, seed)
    table = small.table_of(clicks)
    for part, chosen in ((table, clicks), (table.slice(skipped), clicks[skipped:])):
        found, expected = encode_table(part, layout, PSEUDONYMISER), encode_clicks(chosen, layout, PSEUDONYMISER)
        for name in ("ids", "times", "logged_in", "keys"):
            one, other = getattr(found, name), getattr(expected, name)
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other.reshape(one.shape))


def test_other_entities_encode_alike() -> None:
    """Entities beyond the default ones, compound ones too, encode alike from both sides."""
    layout = compile_catalogue(check_catalogue((Clicks(("device", "campaign", "network"), "1h"),
                                                Clicks("advertiser", "1h"))))  # fmt: skip
    clicks = small.random_clicks(200, seed=9)
    found = encode_table(small.table_of(clicks), layout, PSEUDONYMISER)
    np.testing.assert_array_equal(found.keys, encode_clicks(clicks, layout, PSEUDONYMISER).keys)


def test_a_features_table(catalogue: Catalogue) -> None:
    """FEATURES has the clicks in their order, one float32 column a feature, and the hash of the catalogue."""
    table = small.table_of(small.random_clicks(300, seed=1))
    found = backfill(table, catalogue, PSEUDONYMISER)
    names = tuple(feature.name for feature in catalogue)
    assert found.column_names == [*FEATURES.names, *names]
    assert found["click_id"].equals(table["click_id"])
    assert set(found.schema.types[len(FEATURES.names) :]) == {pa.float32()}
    assert found.schema.metadata[b"slidr.catalogue"].decode() == catalogue_hash(catalogue)
    assert conform(FEATURES, found).column_names == found.column_names
    rows = feature_rows(found, names)
    assert rows.flags.c_contiguous
    again = features_table(table, catalogue, found["sequence"].to_numpy(), rows)
    assert again.equals(found)


def test_no_clicks_have_no_rows(catalogue: Catalogue) -> None:
    """An empty table gives an empty one of the same columns."""
    table = small.table_of(small.random_clicks(3, seed=1))
    found = backfill(table.slice(3), catalogue, PSEUDONYMISER)
    assert found.schema.equals(backfill(table, catalogue, PSEUDONYMISER).schema)
    assert found.num_rows == 0


def test_a_warm_store_goes_on(catalogue: Catalogue, layout: Layout) -> None:
    """A log in two parts over one store gives the rows of the whole log, and progress tells of every click."""
    table = small.table_of(small.random_clicks(500, seed=4))
    whole = backfill(table, catalogue, PSEUDONYMISER)
    store, told = EmbeddedStore(layout), list[int]()
    parts = [
        backfill(table.slice(start, length), catalogue, PSEUDONYMISER, store, told.append)
        for start, length in ((0, 180), (180, 320))
    ]
    assert pa.concat_tables(parts).equals(whole.combine_chunks())
    assert sum(told) == 500


def folded_singly(clicks: list[Click], layout: Layout) -> np.ndarray:
    """Return the rows of clicks folded one at a time, as requests come."""
    store = EmbeddedStore(layout)
    return np.concatenate([store.fold(encode_clicks([click], layout, PSEUDONYMISER)).rows for click in clicks])


def test_a_real_log_click_by_click(data: Path, layout: Layout) -> None:
    """The dense window of TalkingData backfilled as a table equals its first clicks served one at a time."""
    path = data / "talkingdata" / "window_2017-11-07_1424.csv.gz"
    document = {"clicks": {"path": str(path), "source": "talkingdata", "ip": "opaque"}}
    table = read_log(parse_settings(document), SystemClock()).clicks
    assert table.num_rows == 100_000
    served = 15_000
    kind = click_type(())
    names = [name for name in kind.__struct_fields__ if name in table.column_names]
    clicks = [kind(**row) for row in table.slice(0, served).select(names).to_pylist()]
    folded = list(fold_table(table, layout, PSEUDONYMISER, EmbeddedStore(layout)))
    rows = np.concatenate([part.rows for part in folded])
    np.testing.assert_array_equal(folded_singly(clicks, layout), rows[:served])
    assert rows[:, layout.names.index("clicks_ip_24h")].max() > 1000
    assert np.isfinite(rows).all()


def test_a_log_longer_than_a_chunk(catalogue: Catalogue) -> None:
    """A log longer than the chunks of table and store gives what its clicks give in small tables."""
    clicks = small.table_of(small.random_clicks(70_000, seed=8))
    whole = backfill(clicks, catalogue, PSEUDONYMISER)
    store = EmbeddedStore(compile_catalogue(catalogue))
    parts = [backfill(clicks.slice(start, 9_999), catalogue, PSEUDONYMISER, store) for start in range(0, 70_000, 9_999)]
    assert pa.concat_tables(parts).equals(whole)
    assert conform(CLICKS, clicks).num_rows == 70_000
