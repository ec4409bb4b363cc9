"""Settings that switch every list rule on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slidr.settings import RulesSettings


@pytest.fixture
def switched_on(tmp_path: Path) -> RulesSettings:
    """Settings under which every rule has something to do."""
    (tmp_path / "networks.txt").write_text("192.0.2.0/24\n2001:db8::/32\n")
    (tmp_path / "deny.csv").write_text("column,value\nuser,mallory\nuser_agent,*Probe*\nip,198.51.100.7\n")
    (tmp_path / "allow.csv").write_text("campaign,house\nip,203.0.113.0/24\n")
    return RulesSettings(
        data_centres=(str(tmp_path / "networks.txt"),),
        repeats="24h",
        deny=(str(tmp_path / "deny.csv"),),
        allow=(str(tmp_path / "allow.csv"),),
    )
