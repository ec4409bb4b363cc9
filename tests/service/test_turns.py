"""Threads take short turns while one computes beside those that decide."""

from __future__ import annotations

import sys

import pytest

from slidr.service.turns import short_turns


def test_turns_are_short_for_as_long_as_one_computes() -> None:
    """The interval is a tenth of a millisecond within, and the usual one behind it, whatever happened."""
    usual = sys.getswitchinterval()
    with short_turns():
        assert sys.getswitchinterval() == pytest.approx(1e-4)
        with pytest.raises(ZeroDivisionError), short_turns():
            _ = 1 / 0
    assert sys.getswitchinterval() == pytest.approx(usual)
