"""Ends with 0 while the service lives: asks for /health at SLIDR_HEALTH, or on this machine where that is not set."""

from __future__ import annotations

import os
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit


def main() -> int:
    """Ask once; the certificate is not checked, for this machine's own service is asked for its life alone."""
    place = urlsplit(os.environ.get("SLIDR_HEALTH", "http://127.0.0.1:8710"))
    if place.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: HTTPConnection = HTTPSConnection(place.netloc, timeout=2, context=context)
    else:
        connection = HTTPConnection(place.netloc, timeout=2)
    try:
        connection.request("GET", "/health")
        return int(connection.getresponse().status != 200)  # noqa: PLR2004 what HTTP calls well
    except (OSError, HTTPException) as fault:
        sys.stderr.write(f"{place.geturl()} does not answer: {fault}\n")
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
