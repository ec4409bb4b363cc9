"""The scorer: an ONNX graph at work, in serving as in backfill."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from slidr.errors import BundleError, FeatureError, ServiceError
from slidr.metrics import Float32s, Float64s

_REFUSALS = (
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NoModel,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_NEAREST = 2.0**-24  # half the distance from 1 to the float32 below it
_CHUNK = 1024  # rows whose hidden layers stay in a core's cache


class Scorer:
    """Scores rows of features with a graph, on one thread; a row's score is the same bits in a batch of any size.

    That holds on a CPU; CUDA promises no such thing.

    Args:
        graph: the ONNX graph.
        device: `cpu`, or `cuda` with a build of onnxruntime for it.

    Attributes:
        names: the features that the graph wants, in the order of its columns.
        network: the name of the network that it was fitted with.

    Raises:
        BundleError: the bytes are no graph, or not one that slidr exported.
        ServiceError: this onnxruntime knows no such device.
    """

    def __init__(self, graph: bytes, device: str = "cpu") -> None:
        provider = _PROVIDERS[device]
        if provider not in onnxruntime.get_available_providers():
            raise ServiceError(
                f"service.device = {device!r} needs an onnxruntime with {provider}, and the one here has"
                f" {', '.join(onnxruntime.get_available_providers())}; install onnxruntime-gpu, or set 'cpu'"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only: they are raised here, and warnings help nobody who serves
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=[provider])
        except _REFUSALS as fault:
            raise BundleError(f"{len(graph)} bytes are not an ONNX graph: {fault}; export the network again") from None
        properties: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        if not {"slidr.names", "slidr.network"} <= properties.keys():
            raise BundleError(
                f"the ONNX graph has the properties {sorted(properties)} and lacks slidr.names or slidr.network; "
                "export it with one of slidr's networks"
            )
        self._has_logit = "logit" in {output.name for output in self._session.get_outputs()}
        self.names: tuple[str, ...] = tuple(json.loads(properties["slidr.names"]))
        self.network: str = properties["slidr.network"]

    def score(self, rows: Float32s) -> Float32s:
        """Return the scores of rows, float32[n, F] -> float32[n] in [0, 1], higher is more robotic.

        Raises:
            FeatureError: the rows have another number of columns or another type, or hold NaN or an infinity.
        """
        return self._output("score", rows)

    def logit(self, rows: Float32s) -> Float64s:
        """Return the log-odds of the scores of rows, float32[n, F] -> float64[n].

        Where the network's score is a sigmoid they are what it is the sigmoid of, and tell clicks apart whose scores
        are both 1; else they are made of the score, and end at 16.6 to either side.

        Raises:
            FeatureError: as `score`.
        """
        if self._has_logit:
            return self._output("logit", rows).astype(np.float64)
        scores = np.clip(self.score(rows).astype(np.float64), _NEAREST, 1 - _NEAREST)
        log_odds: Float64s = np.log(scores / (1 - scores))
        return log_odds

    def _output(self, name: str, rows: Float32s) -> Float32s:
        self._check(rows)
        if len(rows) <= _CHUNK:
            (whole,) = self._session.run([name], {"rows": rows})
            return np.asarray(whole, np.float32).reshape(-1)
        values = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _CHUNK):
            (found,) = self._session.run([name], {"rows": rows[start : start + _CHUNK]})
            values[start : start + _CHUNK] = found.reshape(-1)
        return values

    def _check(self, rows: Float32s) -> None:
        if rows.ndim != 2 or rows.shape[1] != len(self.names) or rows.dtype != np.float32:  # noqa: PLR2004 rows by columns
            raise FeatureError(
                f"the network {self.network} scores float32 rows of {len(self.names)} features, "
                f"and was given {rows.dtype}{list(rows.shape)}; compute them with the bundle's own catalogue"
            )
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise FeatureError(
                f"feature {self.names[column]} of row {row} is {rows[row, column]}, which no score can be made of; "
                "the fold gives finite numbers only, so check where the row comes from"
            )
