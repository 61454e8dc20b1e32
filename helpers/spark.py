"""The saved detector past one machine: Apache Spark serves a stream of event files and scores a table. Each
worker loads the saved detector itself. `session` starts Spark inside this process; the other functions take
any session whose workers have the course's packages and `helpers`."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from helpers.detector import BUNDLE, Detector, kinds
from helpers.files import CourseError, from_bytes
from helpers.readers import LARGEST
from helpers.rules import EVERY, Rule
from helpers.schema import Schema
from helpers.settings import BUDGET, ROOT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.state import GroupState

JAVA = 17  # the oldest that Spark 4 runs on
STATE = "last long, recent binary, past binary, had binary"
RISKS = "key long, event long, risk double"
ALERTS = f"{RISKS}, one_in long, rules string, burst long, repeats long, why string"


def lacking() -> str:
    """What keeps Spark from running here, in one sentence; empty where nothing does."""
    if importlib.util.find_spec("pyspark") is None:
        install = "pip install -c constraints.txt -r requirements-spark.txt"
        return f"Apache Spark is not installed: run `make scale` once, or {install}."
    if os.name == "nt":
        return "Apache Spark's streams need Linux or macOS; on Windows use WSL or Colab."
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60).stderr
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    version = re.search(r'version "(\d+)', said)
    if version and int(version[1]) >= JAVA:
        return ""
    found = f"{java} is of version {version[1]}" if version else f"no {java} was found"
    return f"Apache Spark needs Java {JAVA} or later, and {found}: install a JDK or set JAVA_HOME to one."


def session(cores: int, folder: Path) -> SparkSession:
    """Start Spark in this process, or give the session that runs already; no network is used.

    So many `cores` work at a time; `folder` gets scratch files and spark.log, all that Spark says.
    """
    if problem := lacking():
        raise CourseError(problem)
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    if running := SparkSession.getActiveSession():
        return running
    os.environ |= {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    settings = {
        "spark.master": f"local[{cores}]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder / "scratch"),
        "spark.driver.extraJavaOptions": f'"-Djava.io.tmpdir={tempfile.gettempdir()}"',
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
    }
    folder.mkdir(parents=True, exist_ok=True)
    configuration = SparkConf().setAll(list(settings.items()))
    with (folder / "spark.log").open("ab") as log:
        gateway = SparkContext._gateway or launch_gateway(configuration, {"stdout": log, "stderr": log})
    SparkContext(conf=configuration, gateway=gateway)
    return SparkSession.builder.getOrCreate()


@lru_cache(maxsize=1)
def _detector(content: bytes, rules: tuple[Rule, ...]) -> Detector:
    """The detector of a worker process, loaded once from the saved file's bytes."""
    return from_bytes(BUNDLE, content, kinds(rules))


def risks(
    spark: SparkSession, detector: Path, events: DataFrame, rules: tuple[Rule, ...] = EVERY
) -> DataFrame:
    """The risk of every event of a Spark table: key, event, risk; the events need no order. Where the
    detector's schema has a key, they follow on the training set, and each of its keys lies in one `key`."""
    shared = spark.sparkContext.broadcast(detector.read_bytes())

    def score(part: pd.DataFrame) -> pd.DataFrame:
        part = part.sort_values("event", kind="stable")
        risk = _detector(shared.value, rules).score(part.set_index("event"))
        return part[["key", "event"]].assign(risk=risk)

    if Detector.load(detector, rules).schema.key:
        return events.groupBy("key").applyInPandas(score, RISKS)
    return events.mapInPandas(lambda parts: map(score, parts), RISKS)


def serve(
    spark: SparkSession,
    detector: Path,
    folder: Path,
    threshold: float = 1 - BUDGET,
    files: int = 1,
    every: str | None = None,
    rules: tuple[Rule, ...] = EVERY,
) -> list[dict[str, Any]]:
    """Serve event files as they arrive in a folder, one micro-batch after another.

    Args:
        folder: events/ in it holds parquet files of key, event and the columns of the detector's schema (a
            schema's own key as text, its time as a number), written whole and in the order of their events.
            alerts/ gets an alert with reasons for every event whose risk is above the threshold. checkpoint/
            keeps the progress and each key's recent events, as many as the schema's window reaches.
        threshold: the alert budget's if not given; -1 reports every event.
        files: so many files make a micro-batch.
        every: how often to look for new files, such as "1 second", without end; where None, the call ends
            when no file is left.
        rules: where the detector's rules are looked up, as in `Detector.load`.

    Returns:
        Spark's progress report of each micro-batch. After a CourseError the next call goes on there.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    loaded, shared = Detector.load(detector, rules), spark.sparkContext.broadcast(detector.read_bytes())

    def serve_key(key: tuple, parts: Iterable[pd.DataFrame], state: GroupState) -> Iterator[pd.DataFrame]:
        yield _serve_key(_detector(shared.value, rules), threshold, key[0], pd.concat(parts), state)

    try:
        query = (
            spark.readStream.schema(_types(loaded.schema))
            .option("maxFilesPerTrigger", files)
            .parquet(str(folder / "events"))
            .select("*", "_metadata.file_name")
            .groupBy("key")
            .applyInPandasWithState(serve_key, ALERTS, STATE, "append", "NoTimeout")
            .writeStream.format("parquet")
            .option("checkpointLocation", str(folder / "checkpoint"))
            .option("path", str(folder / "alerts"))
            .trigger(**({"processingTime": every} if every else {"availableNow": True}))
            .start()
        )
        query.awaitTermination()
    except (PySparkException, Py4JError) as error:
        raise CourseError(_sentence(str(error))) from None
    return [json.loads(progress.json) for progress in query.recentProgress]


def _types(schema: Schema) -> str:
    """The columns of an event file, as Spark writes types."""
    types = {"key": "long", "event": "long"} | dict.fromkeys(schema.carried, "double")
    types |= dict.fromkeys(filter(None, (schema.key, *schema.categories)), "string")
    return ", ".join(f"`{name}` {kind}" for name, kind in types.items())


def _serve_key(
    detector: Detector, above: float, key: int, events: pd.DataFrame, state: GroupState
) -> pd.DataFrame:
    """Give one key's alerts of one micro-batch and put the key's recent events into its state."""
    last, recent, past, had = state.get if state.exists else (-1, b"", b"", b"")
    schema, encoder = detector.schema, detector.schema.encoder
    events = events.sort_values("event", kind="stable")
    _check(key, events, last, schema)
    events = events.set_index("event")[schema.carried]
    if encoder:
        encoder = encoder.going_on(_table(past), _table(had)["text"]) if past else encoder
        events, encoder = encoder.step(events)
        past, had = map(_bytes, encoder.only(events, _table(past).index if past else ()))
    history = _table(recent) if recent else events[:0]
    alerts = detector.reasons(events, history, above)
    recent = _bytes(schema.recent(pd.concat([history, events])))
    state.update((int(events.index[-1]), recent, past, had))
    return alerts.reset_index().assign(key=key)


def _bytes(table: pd.DataFrame) -> bytes:
    table.to_parquet(content := io.BytesIO())
    return content.getvalue()


def _table(content: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content))


def _check(key: int, events: pd.DataFrame, last: int, schema: Schema) -> None:
    """Refuse what cannot be scored, and events that came before: the key's order is its memory."""
    numbers = events[["key", "event", *schema.numbers, *filter(None, [schema.time])]]
    good, least = numbers.abs() < LARGEST, [*schema.counts, *schema.shares]
    good[least] &= numbers[least] >= 0
    good = good.join(events[[*schema.categories, *filter(None, [schema.key])]].notna())
    if schema.missing == "flag":
        may_lack = [*schema.numbers, *schema.categories]
        good[may_lack] |= events[may_lack].isna()
    wrong = {f"{name} is missing or out of range": ~rows for name, rows in good.items()}
    steps = np.diff(events["event"], prepend=last)
    wrong |= {f"an event of key {key} comes twice, or after a later one": steps <= 0}
    for what, rows in wrong.items():
        if rows.any():
            raise ValueError(f"File {events['file_name'].iloc[int(np.argmax(rows))]}: {what}")


def _sentence(error: str) -> str:
    """What went wrong in a query, from the page that Spark writes about it."""
    refused = re.search(r"ValueError: File (.+?): (.+)", error)
    unread = re.search(r"reading file .+/(.+?)\. (.*?) ?SQLSTATE", error)
    cause = re.sub(r".* terminated with exception: ", "", error.partition("\n")[0])
    said = f"Spark stopped ({cause[:200]}): look into spark.log"
    if found := refused or unread:
        reason = found[2].rstrip(".") or "it is damaged"
        said = f"{found[1]} cannot be served ({reason}): put a good file in its place"
    return f"{said} and start again; the progress is kept."


def alerts(spark: SparkSession, folder: Path) -> pd.DataFrame:
    """What `serve` has reported so far, by key and event; what a killed micro-batch left is not in it."""
    table = spark.read.schema(ALERTS).parquet(str(folder / "alerts")).toPandas()
    return table.sort_values(["key", "event"], ignore_index=True)
