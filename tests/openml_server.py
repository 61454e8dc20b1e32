"""A loopback server that answers openml-python as OpenML does, and can misbehave on purpose."""

from __future__ import annotations

import hashlib
import io
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd

DESCRIPTION = """<oml:data_set_description xmlns:oml="http://openml.org/openml">
  <oml:id>1597</oml:id>
  <oml:name>creditcard</oml:name>
  <oml:version>1</oml:version>
  <oml:format>ARFF</oml:format>
  <oml:licence>Public</oml:licence>
  <oml:url>{base}/data/v1/download/1673544/creditcard.arff</oml:url>
  {parquet}
  <oml:default_target_attribute>Class</oml:default_target_attribute>
  <oml:visibility>public</oml:visibility>
  <oml:status>active</oml:status>
  <oml:md5_checksum>{md5}</oml:md5_checksum>
</oml:data_set_description>"""
PARQUET_URL = "<oml:parquet_url>{base}/datasets/0000/1597/dataset_1597.pq</oml:parquet_url>"
UNKNOWN = """<oml:error xmlns:oml="http://openml.org/openml">
  <oml:code>111</oml:code><oml:message>Unknown dataset</oml:message>
</oml:error>"""
EXTRA_ROWS = 500


@cache
def openml_frame(fault: str | None = None) -> pd.DataFrame:
    """What OpenML serves: the snapshot's rows, EXTRA_ROWS made-up ones, two made-up columns."""
    events = pd.read_parquet(Path(__file__).parents[1] / "data" / "creditcard_100k.parquet")
    events = pd.concat([events, events.iloc[:EXTRA_ROWS]], ignore_index=True)
    axes = [f"V{i}" for i in range(1, 7)]
    frame = events[axes].assign(V7=0.5, V8=np.arange(len(events)) / 7, Amount=events["Amount"])
    frame["Class"] = pd.Categorical(events["Class"].astype(str))
    if fault == "few rows":
        frame = frame.iloc[:30_000]
    if fault == "changed value":
        frame.loc[12_345, "V4"] += 0.001
    if fault == "wrong columns":
        frame = frame.rename(columns={"V3": "PCA3"})
    if fault == "no class":
        frame = frame.drop(columns="Class")
    return frame


@cache
def parquet_bytes(fault: str | None = None) -> bytes:
    """The frame as OpenML's parquet file; half of it for the fault "truncated"."""
    target = io.BytesIO()
    frame = openml_frame(None if fault == "truncated" else fault)
    frame.to_parquet(target, index=False, compression="zstd")
    body = target.getvalue()
    return body[: len(body) // 2] if fault == "truncated" else body


@cache
def arff_bytes() -> bytes:
    """The frame as OpenML's ARFF file, with the eight decimals that such a file may have."""
    frame = openml_frame()
    kinds = {name: "numeric" for name in frame} | {"Class": "{0,1}"}
    header = "".join(f"@attribute '{name}' {kind}\n" for name, kind in kinds.items())
    rows = frame.to_csv(index=False, header=False, float_format="%.8f", lineterminator="\n")
    return f"% made up\n@relation creditcard\n\n{header}\n@data\n{rows}".encode()


class OpenMLServer(ThreadingHTTPServer):
    """Serve data set 1597 on 127.0.0.1 while the `with` block lasts.

    Args:
        fault: None, "hang" (the first client at the description, later ones in mid-download),
            "connection lost", "404" (files gone), "500", "unknown" (OpenML's own error message),
            "truncated", "few rows", "changed value", "wrong columns", "no class" or "arff only".

    `url` goes into OpenML's configuration file, `requests` lists what was asked for, and
    `hanging` lists where a client is left without an answer.
    """

    daemon_threads = True

    def __init__(self, fault: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault = fault
        self.requests: list[str] = []
        self.hanging: list[str] = []
        self.stopped = threading.Event()
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.base}/api/v1/xml"

    def __enter__(self) -> OpenMLServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()

    def hang(self, where: str) -> None:
        """Leave the request without an answer until the server ends."""
        self.hanging.append(where)
        self.stopped.wait(60)

    def description(self) -> bytes:
        """Describe the data set; the checksum is that of the ARFF file, as on OpenML."""
        arff_only = self.fault == "arff only"
        parquet = "" if arff_only else PARQUET_URL.format(base=self.base)
        md5 = hashlib.md5(arff_bytes()).hexdigest() if arff_only else "0" * 32
        return DESCRIPTION.format(base=self.base, parquet=parquet, md5=md5).encode()


class _Handler(BaseHTTPRequestHandler):
    server: OpenMLServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server, fault = self.server, self.server.fault
        path = self.path.partition("?")[0]
        server.requests.append(f"{self.command} {path}")
        if path == "/api/v1/xml/data/1597":
            self._describe(fault)
        elif fault == "404":
            self._answer(404, b"<html>Not Found<br></html>", "text/html")
        elif path.endswith("/dataset_1597.pq") and fault != "arff only":
            self._file(parquet_bytes(fault if fault in _CONTENT else None))
        elif path.endswith("/creditcard.arff"):
            self._answer(200, arff_bytes(), "text/plain")
        else:
            self._answer(404, b"", "text/html")

    def _describe(self, fault: str | None) -> None:
        if fault == "hang" and len(self.server.requests) == 1:
            self.server.hang("description")
        elif fault == "500":
            self._answer(500, b"<html>Internal Server Error<br></html>", "text/html")
        elif fault == "unknown":
            self._answer(412, UNKNOWN.encode(), "text/xml")
        else:
            self._answer(200, self.server.description(), "text/xml")

    def _file(self, body: bytes) -> None:
        cut = self.server.fault in ("hang", "connection lost")
        self._answer(200, body, "application/octet-stream", send=len(body) // 2 if cut else None)
        if self.server.fault == "hang" and self.command == "GET":
            self.server.hang("download")

    def _answer(self, status: int, body: bytes, kind: str, send: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        self.send_header("Last-Modified", "Wed, 05 Jul 2023 09:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:send])


_CONTENT = {"truncated", "few rows", "changed value", "wrong columns", "no class"}
