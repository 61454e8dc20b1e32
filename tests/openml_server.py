"""A loopback server that answers openml-python as OpenML does, and can misbehave on purpose."""

from __future__ import annotations

import gzip
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd

from helpers.data import SNAPSHOT
from helpers.settings import AXES

DESCRIPTION = """<oml:data_set_description xmlns:oml="http://openml.org/openml">
  <oml:id>1597</oml:id><oml:name>creditcard</oml:name><oml:version>1</oml:version>
  <oml:format>ARFF</oml:format><oml:licence>Public</oml:licence>
  <oml:url>{base}/data/v1/download/1673544/creditcard.arff</oml:url>
  <oml:parquet_url>{base}/datasets/0000/1597/dataset_1597.pq</oml:parquet_url>
</oml:data_set_description>"""
UNKNOWN = """<oml:error xmlns:oml="http://openml.org/openml">
  <oml:code>111</oml:code><oml:message>Unknown dataset</oml:message>
</oml:error>"""
EXTRA_ROWS = 500


@cache
def openml_frame() -> pd.DataFrame:
    """What OpenML serves: the snapshot's rows, EXTRA_ROWS made-up ones, two made-up columns. Let it be."""
    events = pd.read_parquet(SNAPSHOT)
    events = pd.concat([events, events[:EXTRA_ROWS]], ignore_index=True)
    table = events[AXES].assign(V7=0.5, V8=np.arange(len(events)) / 7, Amount=events["Amount"])
    return table.assign(Class=pd.Categorical(events["Class"].astype(str)))


@cache
def parquet_bytes() -> bytes:
    return openml_frame().to_parquet(index=False)


class OpenMLServer(ThreadingHTTPServer):
    """Serve data set 1597 at `url` while the `with` block lasts. A fault is "description" or "download", at
    which it hangs, "404", "unknown" or any other: a connection that is lost."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault, self.stopped, self.requests, self.hanging = None, threading.Event(), [], set()
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.base}/api/v1/xml"

    def __enter__(self) -> OpenMLServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()

    def hang(self) -> None:
        self.hanging.add(self.fault)
        self.stopped.wait(60)


class _Handler(BaseHTTPRequestHandler):
    server: OpenMLServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, fault, path = self.server, self.server.fault, self.path.partition("?")[0]
        server.requests.append(f"{self.command} {path}")
        if path == "/api/v1/xml/data/1597":
            if fault == "description":
                return server.hang()
            status, text = (412, UNKNOWN) if fault == "unknown" else (200, DESCRIPTION)
            body = gzip.compress(text.format(base=server.base).encode())
            return self._answer(status, body, encoding="gzip")
        if fault == "404":
            return self._answer(404, b"")
        body = parquet_bytes()
        self._answer(200, body, send=len(body) // 2 if fault else None)
        if fault == "download" and self.command == "GET":
            server.hang()

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, encoding: str = "identity", send: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Length": str(len(body)), "Encoding": encoding}.items():
            self.send_header(f"Content-{name}", value)
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Wed, 05 Jul 2023 09:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:send])
