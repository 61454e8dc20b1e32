"""The loop of notebook 10 as a job. Every call is one round.

    python job.py TABLE FOLDER

TABLE grows at its end. FOLDER is the case queue, which holds learner.zip, alerts.csv for people, and
reviews.csv with their answers. If a call is killed, the next one goes on. Copy this file, and change what
stands between the two lines.
"""

import sys
from pathlib import Path

from helpers import case_queue, data
from helpers.detector import Detector
from helpers.files import CourseError
from helpers.rules import SUSPICIOUS, Rule, rules_for
from helpers.schema import Schema
from helpers.stream import Learner

# ---------------------------------------------------------------------------------------------------
SCHEMA = Schema(
    counts=("license_cnt", "dist_dev_id_cnt", "dist_ip_cnt", "dist_country_cnt", "failed_cnt"),
    shares=("mismatch_pct",),
    key="account",
    time="day",
)
TRAIN = 6_000  # the first events of the table are the training set
PER_THOUSAND = 5  # alerts per 1,000 events that the team has time for
BATCH = 1_000  # events a round, at most


def devices_and_addresses(facts, thresholds):
    return (facts["dist_dev_id_cnt"] >= 4) & (facts["dist_ip_cnt"] >= 4)


MINE = Rule(
    name="devices_and_addresses",
    says="Many devices at many addresses in one day.",
    vote=SUSPICIOUS,
    test=devices_and_addresses,
)
# ---------------------------------------------------------------------------------------------------
BOOK = (MINE, *rules_for(SCHEMA))


def round_of(table: str, folder: Path) -> str:
    """Learn from the reviews, score what is new, write the alerts, and say in one line what happened."""
    kept, back = folder / "learner.zip", folder / "reviews.csv"
    events, _ = data.seal(data.load_events(table, None, schema=SCHEMA), SCHEMA)
    if kept.exists():
        learner = Learner.load(kept, rules=BOOK)
        case_queue.check_same(learner, events, SCHEMA, PER_THOUSAND, BOOK)
        told = case_queue.reviewed(learner, back) if back.exists() else ()
        if len(told):
            learner.learn(told)
    else:
        train, told = events[:TRAIN], ()
        if len(events) < TRAIN:
            raise CourseError(
                f"{table} has {len(events):,} events, fewer than the {TRAIN:,} of the training set."
            )
        learner = Learner.start(Detector.fit(train, rules=BOOK, schema=SCHEMA), train, alerts=PER_THOUSAND)
    new = events[events.index >= learner.now][:BATCH]
    learner.watch(new)
    learner.close()
    learner.save(kept)  # before people see an alert, and after, with its reasons
    alerts = case_queue.write_alerts(learner, folder / "alerts.csv")
    learner.save(kept)
    return f"{len(told)} reviews learned, {len(new):,} events scored, {len(alerts)} alerts are open."


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        print(round_of(sys.argv[1], Path(sys.argv[2])))
    except (CourseError, OSError, ValueError) as error:
        sys.exit(str(error))
