"""A server on loopback whose answers never end, are far too large, or lead elsewhere."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from quant_assets.fetching.bounds import LARGEST_BODY

BOMB = gzip.compress(b" " * (4 * LARGEST_BODY), 1)


class Server(ThreadingHTTPServer):
    """``released`` ends all answers that trickle."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.released = threading.Event()
        self.asked: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away in the middle; that is what is tested."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        leads = {
            "/there": "/list.csv",
            "/round": "/round",
            "/away": self.server.url.replace("127.0.0.1", "localhost") + "/list.csv",
            "/down": "ftp://127.0.0.1/list.csv",
        }
        name = f"/{self.path.split('/')[1]}"
        if name in leads:
            self._reply(302, b"", Location=leads[name])
        elif self.path.startswith("/trickle"):
            self._head(200)
            self._trickle(b"x")
        elif self.path == "/headers":
            self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
            self._trickle(b"y")
        elif self.path.startswith("/bomb"):
            self._reply(200, BOMB, **{"Content-Encoding": "gzip"})
        elif self.path == "/list.csv.gz":
            self._reply(200, BOMB)
        elif self.path == "/endless":
            self._head(200)
            while not self.server.released.is_set():
                self.wfile.write(b"x" * (1 << 20))
        else:
            self._reply(200, b"Symbol\nAAPL\n")

    def _trickle(self, byte: bytes) -> None:
        while not self.server.released.wait(0.02):
            self.wfile.write(byte)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _reply(self, status: int, body: bytes, **headers: str) -> None:
        self._head(status, **{"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()
