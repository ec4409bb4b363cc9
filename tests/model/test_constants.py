"""Weights are read from a graph without the packages of training."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.service.making import make_bundle

from slidr.errors import BundleError
from slidr.model.constants import constants_of


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A graph with weights."""
    return make_bundle(tmp_path_factory.mktemp("bundles")).graph


def test_constants_are_those_that_onnx_reads(graph: bytes) -> None:
    """Every float32 array, by name, shape and value."""
    theirs = {one.name: numpy_helper.to_array(one) for one in onnx.load_from_string(graph).graph.initializer}
    found = constants_of(graph)
    assert set(found) == {name for name, array in theirs.items() if array.dtype == np.float32}
    assert found
    for name, array in found.items():
        np.testing.assert_array_equal(array, theirs[name])


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_what_is_no_graph_is_refused(graph: bytes, cut: int) -> None:
    """Bytes that end too soon, or are something else, are no graph."""
    with pytest.raises(BundleError, match="is no ONNX graph"):
        constants_of(graph[:-cut])
    with pytest.raises(BundleError, match="is no ONNX graph"):
        constants_of(b"\xff\xff\xff")
