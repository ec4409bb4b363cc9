"""Clicks and catalogues for the tests of the fold."""

from __future__ import annotations

import pytest

from slidr.features.catalogue import Catalogue, default_catalogue
from slidr.features.layout import Layout, compile_catalogue
from slidr.settings import FeaturesSettings


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The default catalogue."""
    return default_catalogue(FeaturesSettings())


@pytest.fixture(scope="session")
def layout(catalogue: Catalogue) -> Layout:
    """The default catalogue, compiled."""
    return compile_catalogue(catalogue)
