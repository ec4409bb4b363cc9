"""An object store that speaks as much of S3 as the registry asks for: put, put where none is, get, list."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"
_PAGE = 3  # objects a page of a list, so that lists have several


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    lock: threading.Lock

    def do_PUT(self) -> None:
        key = self._key()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            if self.headers.get("If-None-Match") == "*" and key in self.objects:
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.objects[key] = body
        self._answer(200, b"", _etag(body))

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
            with self.lock:
                found = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
                page = "".join(_listed(key, self.objects[key]) for key in found[:_PAGE])
            more = "<IsTruncated>false</IsTruncated>"
            if len(found) > _PAGE:
                token = f"<NextContinuationToken>{escape(found[_PAGE - 1])}</NextContinuationToken>"
                more = f"<IsTruncated>true</IsTruncated>{token}"
            self._answer(200, f"<ListBucketResult><Name>{BUCKET}</Name>{more}{page}</ListBucketResult>".encode())
            return
        body = self.objects.get(self._key())
        if body is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, body, _etag(body))

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")

    def _answer(self, status: int, body: bytes, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Mon, 02 Mar 2026 00:00:00 GMT")
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name that http.server gives it
        pass


def _etag(body: bytes) -> str:
    return f'"{md5(body, usedforsecurity=False).hexdigest()}"'


def _listed(key: str, body: bytes) -> str:
    modified = "<LastModified>2026-03-02T00:00:00.000Z</LastModified>"
    return f"<Contents><Key>{escape(key)}</Key>{modified}<ETag>{_etag(body)}</ETag><Size>{len(body)}</Size></Contents>"


@contextmanager
def serving() -> Iterator[str]:
    """Serve an empty bucket, and give the address of the server."""
    handler = type("Handler", (_Handler,), {"objects": {}, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
