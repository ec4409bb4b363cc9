"""A real HTTP server that takes what is posted, or not, as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import NamedTuple


class Taken(NamedTuple):
    """What was posted."""

    headers: dict[str, str]
    body: bytes


@contextmanager
def receiving(answers: list[int]) -> Iterator[tuple[str, list[Taken]]]:
    """Yield the address of a server and what it was sent; it answers with these statuses, and then 204."""
    taken: list[Taken] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.append(Taken({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", taken
    finally:
        server.shutdown()
        server.server_close()
