"""What the tests of the service share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.making import make_bundle, make_parts

from slidr.bundle import Bundle
from slidr.service.lifecycle import Parts


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with an untrained network."""
    return make_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def parts(tmp_path: Path, bundle: Bundle) -> Parts:
    """What a service in a folder of its own is made of."""
    return make_parts(tmp_path, bundle)
