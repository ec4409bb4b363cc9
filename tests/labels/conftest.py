from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def data() -> Path:
    """The folder of real logs; a test that needs it is skipped by name where it is absent."""
    folder = Path(os.environ.get("SLIDR_DATA") or BESIDE)
    if not folder.is_dir():
        pytest.skip(f"real data absent: {folder} is no folder; set SLIDR_DATA")
    return folder
