"""The stream: admit events, score first, spend the alert budget, learn from reviews. The learner gets
the truth through `review` and `reports`: of alerted events early, of the other frauds late."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.special import expit, logit

from helpers.classifier import SCORE_FEATURES, Classifier, classifier_inputs
from helpers.detector import Detector, kinds
from helpers.encoder import Encoder
from helpers.evaluation import capacity
from helpers.features import is_unusual
from helpers.files import CourseError, load, to_bytes
from helpers.files import replace as replace_file
from helpers.readers import LARGEST, are_keys, as_float, blanks, codes, times
from helpers.rows import row_sums
from helpers.rules import EVERY, Rule
from helpers.schema import CARDS, Schema
from helpers.settings import ALERTS, BLOCK, DELAY, DOUBT, EXPLORE, KEEP, RADIUS, REVIEWED, WINDOW

UNKNOWN = -1  # an alert not yet decided, a truth not yet learned
CLOSED = -1  # a review that closes an alert without an answer
LEARNER = "domain-driven learner, version 7"  # the stamp of a saved learner
DRIFT_BINS = 10  # tenths of the reference: the usual choice for the population stability index

Wrong = float | tuple[float, float]  # share of wrong reviews, or one of legitimate events and one of frauds


def admit(
    batch: pd.DataFrame, last_event: int = -1, schema: Schema = CARDS, last_time: Any = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let clean events in and keep the stream going whatever else arrives.

    Args:
        batch: events as they arrive, indexed by event number; columns may lack, values may be anything.
        last_event, last_time: number of the last event that was admitted, and its time, if it has one.

    Returns:
        The admitted events in increasing order, numbers as float64, with categories, key and time where the
        schema has them; and the refused rows with a column `why`: "malformed" (NaN, 1e30 or more, a count or
        share below 0, no number, no category, no key, no time, a column missing or double), "duplicate" (the
        number was admitted just now) or "late" (number or time is smaller than the last admitted one's).
        Equal values are no duplicate. A number or category may be missing where the schema flags it.

        A time is a number, an object that is a date, or a text as ISO 8601 writes dates. All are of the kind
        of `last_time`, or else of the first: numbers, dates, or dates with a time zone, which become UTC.
    """
    single = batch.loc[:, ~batch.columns.duplicated(keep=False)]
    known = single.reindex(columns=schema.carried)
    values = known.assign(**known[list(schema.numbers)].apply(_numbers_only))
    for name in schema.categories:
        values[name] = codes(known[name])
    if schema.key:
        values[schema.key] = known[schema.key].where(are_keys(known[schema.key]))
    moments = np.zeros(len(batch) + 1)  # that of the last event comes first
    if schema.time:
        told = pd.Series([last_time, *known[schema.time]], dtype=object)
        moments, _ = times(told, _numbers_only(told).to_numpy())
        values[schema.time] = moments[1:].set_axis(known.index)
    lacking = values.isna()
    if schema.missing == "flag" and set(schema.carried) <= set(single):
        for name in (*schema.numbers, *schema.categories):
            lacking[name] &= ~blanks(known[name])
    number = _numbers_only(batch.index.to_series()).to_numpy()
    good = (number % 1 == 0) & (np.abs(number) < 2**53)
    good &= ~lacking.any(axis=1).to_numpy()
    good &= ~(values[[*schema.counts, *schema.shares]] < 0).any(axis=1).to_numpy()
    admitted = np.zeros(len(known), dtype=bool)
    last, (latest, *moment) = last_event, moments
    for row in np.flatnonzero(good):
        if number[row] > last and not moment[row] < latest:
            admitted[row], last, latest = True, number[row], moment[row]
    twice = np.isin(number, np.r_[last_event, number[admitted]])
    why = np.where(~good, "malformed", np.where(twice, "duplicate", "late"))
    index = pd.Index(number[admitted].astype(np.int64), name="event")
    return values[admitted].set_axis(index), batch[~admitted].assign(why=why[~admitted])


def _numbers_only(column: pd.Series) -> pd.Series:
    """float64, NaN in place of whatever is no number below `LARGEST`."""
    numbers = [np.nan if isinstance(value, bool) else as_float(value) for value in column]
    return pd.Series(numbers, column.index, dtype=np.float64).where(lambda them: them.abs() < LARGEST)


def review(
    truth: pd.Series, alerted: pd.Index, now: int, delay: int = DELAY, wrong: Wrong = 0.0, seed: int = 0
) -> pd.Series:
    """What analysts say of alerted events, `delay` events after each: their truth, and nobody else's. `wrong`
    is the share of reviews that say the opposite, or two shares, of the legitimate events and of the frauds;
    seed and event decide which ones."""
    told, share = truth.loc[alerted[alerted + delay <= now]], np.broadcast_to(wrong, 2)
    draws = [np.random.default_rng([seed, event]).random() for event in told.index]
    return told.where(np.array(draws) >= share[told.astype(int)], 1 - told)


def reports(truth: pd.Series, unknown: pd.Index, now: int, delay: int) -> pd.Series:
    """What customers say `delay` events later: frauds that nobody reviewed (Dal Pozzolo et al., 2015)."""
    late = truth.loc[unknown[unknown + delay <= now]]
    return late[late == 1]


@dataclass
class Learner:
    """A detector in service: it scores, alerts, and learns from reviews.

    Attributes:
        detector: label-free, frozen.
        memory: the latest events, reviewed older ones and open alerts, in time order: columns, place (in the
            stream; 1,000 are a block), reconstruction_error and distance, risk (as scored on arrival), alert
            (1, 0; -1 until its block is over), truth (1, 0; -1 unless reviewed) and why (of an alert that
            has been written out).
        weights: (k + 1,) the linear classifier, a logistic regression on the scaled inputs; last, its bias.
        classifier: the classifier of trees, which learns from the same labels.
        explore: reviews without any fraud after which one more alert of a block goes to novel events; 0 if
            none ever does. The first confirmed fraud ends it.
        seed: of the classifiers to come.
        alerts: the alert budget, of every 1,000 events; any positive rate, such as 0.5.
        keep: how many of the latest events are remembered; of older ones the latest reviewed (`REVIEWED`).
        begun, encoder: place of the first event that was scored, from which on the budget counts; what each
            key has done so far, where the schema has an encoder.
    """

    detector: Detector
    memory: pd.DataFrame
    weights: np.ndarray
    classifier: Classifier
    explore: int = EXPLORE
    seed: int = 0
    alerts: float = ALERTS
    keep: int = KEEP
    begun: int = 0
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.alerts, Real) and 0 < self.alerts <= BLOCK):
            raise CourseError(f"The alert budget is a number above 0 of {BLOCK:,}, not {self.alerts!r}.")

    @classmethod
    def start(
        cls, detector: Detector, warm_up: pd.DataFrame, explore: int = EXPLORE, seed: int = 0, **more: Any
    ) -> Self:
        """Begin after the detector's training set, which is remembered, not scored; `more` are `alerts` and
        `keep`."""
        _check_clock(warm_up.index)
        place, encoder = int(warm_up.index[0]) % BLOCK, detector.schema.encoder
        if encoder:
            warm_up, encoder = encoder.step(warm_up)
        memory = _described(detector, warm_up, detector.seen(warm_up), place).assign(alert=0)
        weights = np.zeros(len(detector.schema.columns) + 1)
        more |= {"begun": place + len(warm_up), "encoder": encoder}
        return cls(detector, memory, weights, detector.classifier, explore, seed, **more)

    @property
    def now(self) -> int:
        """The clock: number of the next event."""
        return int(self.memory.index[-1]) + 1

    @property
    def place(self) -> int:
        """The next event's place in the stream. It begins at the first number's place in its thousand and,
        unlike numbers, has no gaps."""
        return int(self.memory["place"].iloc[-1]) + 1

    @property
    def pending(self) -> pd.Index:
        """Alerted events that nobody has reviewed yet."""
        return self.memory.index[(self.memory["alert"] == 1) & (self.memory["truth"] == UNKNOWN)]

    def score(self, events: pd.DataFrame) -> np.ndarray:
        """Risk of (n, k) events; (n,) in [0, 1], bit for bit the same for any cut into batches.

        The detector's risk, until a fraud is confirmed. Then the log-odds of this risk, which no review can
        mislead, and of two classifiers that learn from the reviews are averaged (logarithmic pooling: Genest
        and Zidek, 1986), and the log-odds of a fraud among its reviewed look-alikes are added, one of each
        kind counted more (Laplace's rule of succession). The result is a rank and no probability.
        """
        events = self._encoded(events)
        return self._risk(events, self.detector.seen(events))

    def _encoded(self, events: pd.DataFrame) -> pd.DataFrame:
        return self.encoder.encode(events) if self.encoder else events  # with what their keys' past says

    def _risk(self, events: pd.DataFrame, seen: np.ndarray) -> np.ndarray:
        unlearned = self.detector.risk(seen).clip(1e-9)  # no event is beyond what reviews can say
        if not (self.memory["truth"] == 1).any():
            return unlearned
        line = row_sums(seen[:, : -len(SCORE_FEATURES)] * self.weights[:-1]) + self.weights[-1]
        pooled = (line + self.classifier.log_odds(seen) + logit(unlearned)) / 3
        frauds, cleared = self._look_alikes(events)
        return expit(pooled + np.log((frauds + 1) / (cleared + 1)))

    def watch(self, events: pd.DataFrame) -> pd.DataFrame:
        """Score a micro-batch of new events, remember it, and alert where a block is over; gives one row per
        event of the blocks that are over now: risk and alert (1 or 0)."""
        if len(events):
            _check_clock(events.index, self.now)
            schema = self.detector.schema
            fresh = schema.table(events, schema.carried)
            schema.clock(pd.concat([self.memory[-1:][schema.carried], fresh]))  # refuses a time that falls
            encoder = self.encoder
            if encoder:
                events, encoder = encoder.step(events)
            seen = self.detector.seen(events)
            fresh = _described(self.detector, events, seen, self.place).assign(risk=self._risk(events, seen))
            self.memory, self.encoder = pd.concat([self.memory, fresh]), encoder
        return self._decide(self.place // BLOCK * BLOCK)

    def close(self) -> pd.DataFrame:
        """What `watch` gives, for the block that the stream has ended in: it gets its share of the budget."""
        return self._decide(self.place)

    def _decide(self, end: int) -> pd.DataFrame:
        """Spend the budget of every block before the place `end`, of a part of one in proportion."""
        due = self.memory[(self.memory["alert"] == UNKNOWN) & (self.memory["place"] < end)]
        for _, block in due.groupby(due["place"] // BLOCK):
            first, after = (block["place"].iloc[[0, -1]] - self.begun + [0, 1]).tolist()
            chosen = self._chosen(block, capacity(after, self.alerts) - capacity(first, self.alerts))
            self.memory.loc[block.index, "alert"] = chosen.astype(int)
        return self.memory.loc[due.index, ["risk", "alert"]]

    def _chosen(self, block: pd.DataFrame, alerts: int) -> np.ndarray:
        """Spend one block's budget: the riskiest and, the longer no fraud is confirmed, the riskiest of those
        events that look like none reviewed."""
        truth, explored = self.memory["truth"], 0
        if self.explore and not (truth == 1).any():
            explored = max(min((truth == 0).sum() // self.explore, alerts - 1), 0)
        chosen = np.zeros(len(block), dtype=bool)
        chosen[np.argsort(-block["risk"], kind="stable")[: alerts - explored]] = True
        if explored:
            familiar = chosen | self._alike(block, truth != UNKNOWN).any(axis=1)
            novelty = np.where(familiar, -1, block["risk"])
            chosen[np.argsort(-novelty, kind="stable")[:explored]] = True
        return chosen

    def _alike(self, events: pd.DataFrame, those: np.ndarray | pd.Series) -> np.ndarray:
        """Which of n events are similar to which of those m remembered ones, (n, m): within a quarter of the
        event's own length."""
        z, others = (self.detector.profile.axes(part) for part in (events, self.memory[those]))
        return cdist(z, others) <= RADIUS * cdist(z, np.zeros((1, z.shape[1])))

    def _look_alikes(self, events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """How many confirmed frauds, and how many false alarms, are similar to each of n events; 2 x (n,)."""
        truth = self.memory["truth"].to_numpy()
        alike, fraud = self._alike(events, truth != UNKNOWN), truth[truth != UNKNOWN] == 1
        return alike[:, fraud].sum(axis=1), alike[:, ~fraud].sum(axis=1)

    def learn(self, reviews: pd.Series) -> None:
        """Take in reviews (event -> truth, 1 or 0) and refit both classifiers on everything so far. Until the
        first confirmed fraud there is nothing to learn. -1 closes an alert without an answer."""
        told = pd.to_numeric(reviews, errors="coerce")
        for bad, what in (
            (~reviews.index.isin(self.memory.index), "is of an event that the learner has not seen"),
            (reviews.index.duplicated(keep=False), "comes more than once"),
            (~told.isin([0, 1, CLOSED]).to_numpy(), "is neither 1 nor 0"),
        ):
            if bad.any():
                raise CourseError(f"The review of event {reviews.index[bad][0]} {what}: correct or drop it.")
        self.memory.loc[reviews.index[told == CLOSED], "alert"] = 0
        told = told[told != CLOSED]
        self.memory.loc[told.index, "truth"] = told.astype(int)
        self._forget()
        if (self.memory["truth"] == 1).any():
            self._refit()

    def _forget(self) -> None:
        """Drop what is neither among the latest, nor the latest reviewed, nor to be decided or reviewed."""
        undecided = (self.memory["alert"] == UNKNOWN) | self.memory.index.isin(self.pending)
        kept = undecided.to_numpy(copy=True)  # pandas 3 gives arrays to read only
        kept[-max(self.keep, WINDOW) :] = True  # those that the next event's window reaches, too
        kept[np.flatnonzero(self.memory["truth"] != UNKNOWN)[-REVIEWED:]] = True
        self.memory = self.memory[kept]

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """What the classifiers are taught of every remembered event: (n,) of 0 and 1, and (n,) weights. Of
        reviewed events it is their truth, and the others count as normal, because frauds are rare. What is
        unusual and not reviewed has little weight. A confirmed fraud has the share of frauds among its
        reviewed look-alikes, itself one of them and one false alarm counted more, because reviews err."""
        profile, truth = self.detector.profile, self.memory["truth"].to_numpy()
        unusual = (truth == UNKNOWN) & is_unusual(profile.axes(self.memory), profile.beyond)
        weights, fraud = np.where(unusual, DOUBT, 1.0), truth == 1
        frauds, cleared = self._look_alikes(self.memory[fraud])
        weights[fraud] = frauds / (frauds + cleared + 1)
        return fraud.astype(np.int8), weights

    def _refit(self) -> None:
        from sklearn.linear_model import LogisticRegression

        (labels, weights), inputs = self.labels(), self.detector.scaling.transform(self.memory)
        seen = classifier_inputs(inputs, *(self.memory[name].to_numpy() for name in SCORE_FEATURES))
        line = LogisticRegression(solver="newton-cholesky").fit(inputs, labels, weights)
        self.weights = np.append(line.coef_[0], line.intercept_)
        self.classifier = Classifier(seed=self.seed, names=self.detector.classifier.names).fit(
            seen, labels, weights
        )

    def refit(self, events: pd.DataFrame, rules: Sequence[Rule] | None = None) -> Self:
        """A learner whose detector is fitted anew, with these rules if they are given, to the latest of the
        events it has seen, (n, ...). The reviews, the open alerts and the budget go on."""
        schema = replace(self.detector.schema, encoder=None)
        detector = Detector.fit(events, self.seed, rules=rules or self.detector.rules, schema=schema)
        new = Learner.start(detector, events, self.explore, self.seed, alerts=self.alerts, keep=self.keep)
        if new.now != self.now:
            raise CourseError(
                f"A refit needs the latest events, up to event {self.now - 1}, not {new.now - 1}."
            )
        new.memory["place"] += self.place - new.place
        kept = ["risk", "alert", "truth", "why", "place"]
        shared = new.memory.index.intersection(self.memory.index)
        new.memory.loc[shared, kept] = self.memory.loc[shared, kept]
        waiting = (self.memory["truth"] != UNKNOWN) | self.memory.index.isin(self.pending)
        older = self.memory[waiting & ~self.memory.index.isin(shared)].reindex(columns=new.memory.columns)
        older = older.fillna(dict.fromkeys(detector.schema.remembered, 0.0))  # what it did not know then
        older[list(SCORE_FEATURES)] = detector.seen(older)[:, -len(SCORE_FEATURES) :]
        new.memory, new.begun = pd.concat([older, new.memory]).astype(new.memory.dtypes), self.begun
        new.learn(pd.Series(dtype=np.int64))
        return new

    def reasons(self, events: pd.DataFrame, history: pd.DataFrame | None = None) -> pd.DataFrame:
        """`Detector.reasons` of consecutive events, with the learner's risk and `resembles`: the latest
        confirmed fraud that looks similar, if any."""
        frauds, events = self.memory["truth"] == 1, self._encoded(events)
        alike = np.where(self._alike(events, frauds), self.memory.index[frauds], UNKNOWN)
        latest = pd.Series(alike.max(axis=1, initial=UNKNOWN), events.index, dtype="Int64")
        table = self.detector.reasons(events, history).assign(risk=self.score(events))
        return table.assign(resembles=latest.replace(UNKNOWN, pd.NA))

    def save(self, path: Path | str) -> None:
        """Write one file, without pickle; a kill leaves the old file or the new one."""
        replace_file(Path(path), to_bytes(LEARNER, self))

    @classmethod
    def load(cls, path: Path | str, rules: Sequence[Rule] = EVERY) -> Self:
        """Read what `save` wrote; it goes on with the same scores. `rules` as in `Detector.load`."""
        return load(path, LEARNER, kinds(rules) | {"Learner": cls}, "replay the stream and save it again")


def _described(detector: Detector, events: pd.DataFrame, seen: np.ndarray, place: int) -> pd.DataFrame:
    """New events as they are remembered: with what the score features say, neither alerted nor reviewed."""
    said = dict(zip(SCORE_FEATURES, seen.T[-len(SCORE_FEATURES) :], strict=True))
    blank = {"risk": np.nan, "alert": UNKNOWN, "truth": UNKNOWN, "why": ""}
    return events[detector.schema.remembered].assign(place=place + np.arange(len(events)), **said, **blank)


def _check_clock(numbers: pd.Index, least: int = 0) -> None:
    """Event numbers are whole and rise, from `least` on."""
    whole = pd.api.types.is_integer_dtype(numbers)
    if not (whole and numbers.is_monotonic_increasing and numbers.is_unique and numbers[0] >= least):
        raise CourseError(
            f"A stream is indexed by whole event numbers that rise, here from {least} on: number these on, "
            "or let `admit` refuse them."
        )


def replay(
    learner: Learner,
    events: pd.DataFrame,
    truth: pd.Series,
    batch: int = BLOCK,
    delay: int = DELAY,
    reported: int | None = None,
    wrong: Wrong = 0.0,
    seed: int = 0,
) -> Iterator[pd.DataFrame]:
    """Play events to the learner in micro-batches: score first, learn afterwards.

    Args:
        learner: it learns as the stream goes.
        events: what follows on what it has seen.
        truth: of these and earlier events; read by `review` and `reports` alone.
        batch: events at a time. No score depends on it, because it learns at the ends of blocks only.
        delay: events between an event and the review of its alert.
        reported: events until customers complain of what nobody reviewed; None if they never do.
        wrong, seed: share of the reviews that are wrong, and which ones; see `review`.

    Yields:
        After each batch what `watch` decided; stop early to interrupt the stream.
    """
    latest = max(delay, reported or 0)
    if latest > learner.keep:
        raise CourseError(
            f"The truth may come {latest:,} events late, and the learner remembers "
            f"{learner.keep:,}: let it keep more."
        )
    places = learner.place + np.arange(len(events))
    for _, part in events.groupby([places // BLOCK, places % BLOCK // batch]):
        decided = learner.watch(part)
        if learner.place % BLOCK == 0:
            told = review(truth, learner.pending, learner.now, delay, wrong, seed)
            if reported is not None:
                unknown = learner.memory.index[learner.memory["truth"] == UNKNOWN].difference(told.index)
                told = pd.concat([told, reports(truth, unknown, learner.now, reported)])
            learner.learn(told)
        yield decided


def full_feedback(
    inputs: np.ndarray, truth: np.ndarray, warm_up: int, delay: int = DELAY, seed: int = 0, start: int = 0
) -> np.ndarray:
    """Risk from the same classifier, refitted before every block on all labels older than the delay; (n -
    warm_up,), 0 while no fraud is known. `inputs` are (n, k + 2) features and `truth` (n,) 0 and 1; blocks
    follow the stream's clock, on which the first event has the number `start`."""
    from concurrent.futures import ThreadPoolExecutor

    def block_risk(begin: int) -> np.ndarray:
        block, known = inputs[begin : begin + BLOCK - (start + begin) % BLOCK], max(begin - delay, 0)
        if not truth[:known].any():
            return np.zeros(len(block), dtype=np.float32)
        classifier = Classifier(seed=seed, names=[f"input {i}" for i in range(inputs.shape[1])])
        return classifier.fit(inputs[:known], truth[:known]).probability(block)

    begins = [warm_up, *range(warm_up + BLOCK - (start + warm_up) % BLOCK, len(inputs), BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(block_risk, begins)))


def drift(reference: pd.DataFrame, batch: pd.DataFrame) -> pd.DataFrame:
    """How far a batch's distribution has moved from the reference's, a row each column: psi (population
    stability index over tenths of the reference, one event added to each), ks (Kolmogorov-Smirnov statistic)
    and p (its p-value)."""
    from scipy.stats import ks_2samp

    rows = {}
    for name in reference:
        cuts = np.unique(np.quantile(reference[name], np.arange(1, DRIFT_BINS) / DRIFT_BINS))
        both = reference[name], batch[name]
        counts = [np.bincount(np.searchsorted(cuts, part), minlength=len(cuts) + 1) + 1 for part in both]
        before, after = (count / count.sum() for count in counts)
        test = ks_2samp(*both, method="asymp")
        psi = ((after - before) * np.log(after / before)).sum()
        rows[name] = {"psi": psi, "ks": test.statistic, "p": test.pvalue}
    return pd.DataFrame.from_dict(rows, orient="index")
