"""What processes agree on: blocks are warm only where every process has added every click."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.errors import StoreError
from slidr.features.redis.agreement import LEFT_OUT, Agreement, agreed_blocks, read_agreement

TIMES = st.integers(1, 2**52)
KEYS = st.sets(st.sampled_from("abcd"))
HELD = st.dictionaries(st.sampled_from("abcd"), st.integers(-(2**52), 2**52))


@given(HELD, KEYS, KEYS, TIMES)
def test_no_block_is_warm_that_somebody_left_out(
    held: dict[str, int], own: set[str], joining: set[str], newest: int
) -> None:
    """A block that this process does not add to is left out; one that joins starts now; others stay as they are."""
    found = agreed_blocks(held, own, joining, newest)
    assert set(found) == set(held) | own
    for key, since in found.items():
        if key not in own:
            assert since < 0
            assert since in (-newest, held[key])
        elif key in joining or key not in held:
            assert since == newest
        elif held[key] >= 0 or newest < LEFT_OUT - held[key]:
            assert since == held[key]
        else:
            assert since == newest


@given(HELD, KEYS, TIMES)
def test_agreeing_again_changes_nothing(held: dict[str, int], own: set[str], newest: int) -> None:
    """A process that has agreed finds its own agreement as it is, and so do those with the same blocks."""
    once = agreed_blocks(held, own, (), newest)
    assert agreed_blocks(once, own, (), newest) == once


def test_an_agreement_reads_as_it_was_written() -> None:
    """Equal agreements are equal bytes, in whatever order their blocks were named; anything else is refused."""
    one = Agreement("e", "r", 2, "s", {"b": 0, "a": -5})
    other = Agreement("e", "r", 2, "s", {"a": -5, "b": 0})
    assert one.encoded() == other.encoded()
    assert read_agreement(one.encoded()) == one
    newer = msgspec.json.encode(msgspec.to_builtins(one) | {"further": 1})
    for strange in (b"", b"{}", b"\xff", newer):
        with pytest.raises(StoreError, match=r"was not written by this version .* run `slidr seed`"):
            read_agreement(strange)
