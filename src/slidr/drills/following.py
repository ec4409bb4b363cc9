"""Waiting until the service of a drill has taken over a bundle, with nothing sent meanwhile."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

from slidr.drills.stage import Service
from slidr.errors import ServiceError

_SOON = 60.0  # seconds
_PAUSE = 0.01


def follow(service: Service, bundle: str) -> float:
    """Wait until a bundle decides, and return the seconds that took.

    Raises:
        ServiceError: it does not after a minute.
    """
    began = time.perf_counter()
    while serving(service) != bundle:
        if time.perf_counter() - began > _SOON:
            raise ServiceError(f"the service of the drill did not take over bundle {bundle}; this is a fault of slidr")
        time.sleep(_PAUSE)
    return time.perf_counter() - began


def serving(service: Service) -> str:
    """Return the bundle that decides, as the service says."""
    connection = HTTPConnection(urlsplit(service.url).netloc, timeout=_SOON)
    try:
        connection.request("GET", "/ready")
        return str(json.loads(connection.getresponse().read())["bundle"])
    finally:
        connection.close()
