"""Expert rules: what an analyst would say, written as vectorised tests, and what follows from their votes."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from helpers.features import Profile, behaviour, budget_threshold, facts
from helpers.files import CourseError
from helpers.schema import CARDS, Schema
from helpers.settings import UNUSUAL_AXES, UNUSUAL_SD

SUSPICIOUS, NORMAL, ABSTAIN = 1, 0, -1  # a vote, as Snorkel codes it
UNDECIDED = -1  # a pseudo-label that is neither suspicious nor presumed normal
PROBE_AMOUNT = 1.0  # euro: the smallest charge that still proves a card is alive


@dataclass(frozen=True)
class Rule:
    """One named heuristic.

    Attributes:
        name: how votes and plots call it.
        says: what an analyst would say.
        vote: what it says of the events it fires on, SUSPICIOUS or NORMAL; it abstains elsewhere.
        test: (facts, thresholds) -> (n,) bool, where it fires; facts are the signals and the table's own
            columns, so that an expert's sentence can name what the table names.
        clears: whether its NORMAL vote alone, where nobody flags, makes an event presumed normal.
        weight: a signal of 0 or more: the rule score is multiplied by 1 + its value (divided, where the rule
            votes NORMAL).
        needs: the signals that its test looks at, where not every table has them.
    """

    name: str
    says: str
    vote: int
    test: Callable[[pd.DataFrame, dict[str, float]], pd.Series]
    clears: bool = False
    weight: str | None = None
    needs: tuple[str, ...] = ()

    def kept(self) -> dict[str, Any]:
        """What a file holds of it; its test, which is code, and its words are looked up by the name."""
        return {name: getattr(self, name) for name in ("name", "vote", "clears", "weight")}


def high_amount(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["amount_z"] > UNUSUAL_SD


def abnormal_combination(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["distance"] > thresholds["distance"]


def burst(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["burst"] > thresholds["burst"]


def repeated_attempts(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["repeats"] > thresholds["repeats"]


def probing_amount(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    tiny = signals["amount"].between(0, PROBE_AMOUNT)  # which a refund is not
    return tiny & (signals["axes_beyond"] >= UNUSUAL_AXES)


def unlike_itself(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["unlike_itself"] > thresholds["unlike_itself"]


def familiar_pattern(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["background_rate"] >= 1


def ordinary_profile(signals: pd.DataFrame, thresholds: dict[str, float]) -> pd.Series:
    return signals["axes_beyond"] < UNUSUAL_AXES


RULES = (
    Rule(
        "high_amount", "Far more than customers usually spend.", SUSPICIOUS, high_amount, needs=("amount_z",)
    ),
    Rule("abnormal_combination", "These properties do not occur together.", SUSPICIOUS, abnormal_combination),
    Rule("burst", "Many unusual events that look alike, in a short time.", SUSPICIOUS, burst, weight="burst"),
    Rule(
        "repeated_attempts", "The same unusual thing is tried again and again.", SUSPICIOUS, repeated_attempts
    ),
    Rule(
        "probing_amount",
        "A tiny, unusual payment: somebody tests whether the card works.",
        SUSPICIOUS,
        probing_amount,
        needs=("amount",),
    ),
    Rule(
        "familiar_pattern",
        "Odd, but always around: a popular shop, not an attack.",
        NORMAL,
        familiar_pattern,
        weight="background_rate",
    ),
    Rule("ordinary_profile", "Looks like everybody else.", NORMAL, ordinary_profile, clears=True),
)
BY_KEY = Rule(  # and where there is a key
    "unlike_itself", "This {key} has never done that.", SUSPICIOUS, unlike_itself, weight="unlike_itself"
)
EVERY = (*RULES, BY_KEY)  # among which a saved detector's rules are looked up


def rules_for(schema: Schema) -> tuple[Rule, ...]:
    """Those of the course's rules that this schema has the columns for."""
    lacking = set() if schema.amounts else {"amount", "amount_z"}
    book = EVERY if schema.key else RULES
    return tuple(rule for rule in book if not lacking & set(rule.needs))


def known_rule(rules: Sequence[Rule], name: str, **kept: Any) -> Rule:
    """The rule that `kept` described, from those at hand; a CourseError where it is not among them."""
    rule = next((rule for rule in rules if rule.name == name), None)
    if rule is None or rule.kept() != {"name": name} | kept:
        raise CourseError(
            f"The rule {name!r} of this rule book is not among the rules at hand: give the whole book, with "
            "which it was fitted, as `rules`."
        )
    return rule


def naive_rule(events: pd.DataFrame, train: pd.DataFrame | None = None, schema: Schema = CARDS) -> np.ndarray:
    """The prior art's two clauses, `Amount > 200 or V1 < -3`; (n,) bool. On a table of other columns it is as
    naive: above all but a twentieth of `train` in one of the first two."""
    if schema.numbers[:2] == CARDS.columns[:2]:
        return ((events["Amount"] > 200) | (events["V1"] < -3)).to_numpy()
    first = list(schema.numbers[:2])
    return (events[first] > train[first].quantile(0.95)).any(axis=1).to_numpy()


def rule_score(signals: pd.DataFrame, rules: Sequence[Rule] = RULES) -> np.ndarray:
    """How far outside the profile, times how much busier than usual; (n,) without unit. With the course's
    rules distance * (1 + burst) / (1 + background_rate); every rule with a `weight` brings a factor."""
    total = signals["distance"]
    for rule in rules:
        if rule.weight:
            factor = 1 + signals[rule.weight]
            total = total * factor if rule.vote == SUSPICIOUS else total / factor
    return total.to_numpy()


def fit_thresholds(signals: pd.DataFrame, rules: Sequence[Rule] = RULES) -> dict[str, float]:
    """The alert budget's threshold of every signal or column and of the rule score; from the training set."""
    numbers = signals.select_dtypes(["number", "bool"]).astype(float)
    thresholds = {name: budget_threshold(numbers[name]) for name in numbers}
    return thresholds | {"rule_score": budget_threshold(rule_score(signals, rules))}


def apply_rules(
    signals: pd.DataFrame, thresholds: dict[str, float], rules: Sequence[Rule] = RULES
) -> pd.DataFrame:
    """Let every rule vote on every event; (n, rules) int8: 1 suspicious, 0 normal, -1 where it abstains.

    `signals` are (n, ...) what `behaviour` says of each event, and the columns that a rule names; the
    `thresholds` come from `fit_thresholds`.
    """
    votes = {}
    for rule in rules:
        try:
            votes[rule.name] = np.where(rule.test(signals, thresholds), rule.vote, ABSTAIN)
        except KeyError as lacking:
            raise ValueError(
                f"The rule {rule.name} needs {lacking.args[0]}, which these events lack: leave it out of the "
                f"book, or use what there is ({', '.join(map(str, signals))})."
            ) from None
    if len(votes) < len(rules):
        names = ", ".join(rule.name for rule in rules)
        raise ValueError(f"Two rules have the same name: rename one of {names}.")
    return pd.DataFrame(votes, index=signals.index, dtype=np.int8)


def without_contaminated(profile: Profile, events: pd.DataFrame, rules: Sequence[Rule] = RULES) -> Profile:
    """The profile without contaminated clusters: those that are attacks, because the rules flag their events.
    `events` are its training set. What the rules say of the distance from the clusters does not count."""
    known = facts(behaviour(events, profile), events, profile.schema).assign(distance=0.0)
    votes = apply_rules(known, fit_thresholds(known, rules), rules)
    flagged = (votes == SUSPICIOUS).any(axis=1).to_numpy()
    return replace(profile, clusters=profile.clusters.without_contaminated(profile.z_scores(events), flagged))


def rule_summary(votes: pd.DataFrame) -> pd.DataFrame:
    """How the rules' votes meet, under the column names of Snorkel's LFAnalysis. One row per rule: Polarity
    (what it votes), Coverage (share of events it votes on), Overlaps (share on which another rule votes too)
    and Conflicts (share on which another rule votes otherwise)."""
    cast = votes.to_numpy()
    active = cast != ABSTAIN
    suspicious, normal = (cast == SUSPICIOUS).sum(1), (cast == NORMAL).sum(1)
    others_against = np.where(cast == SUSPICIOUS, normal[:, None], suspicious[:, None]) > 0
    return pd.DataFrame(
        {
            "Polarity": [sorted(set(column[column != ABSTAIN].tolist())) for column in cast.T],
            "Coverage": active.mean(0),
            "Overlaps": (active & (active.sum(1) > 1)[:, None]).mean(0),
            "Conflicts": (active & others_against).mean(0),
        },
        index=votes.columns,
    )


def pseudo_labels(
    votes: pd.DataFrame, signals: pd.DataFrame, thresholds: dict[str, float], rules: Sequence[Rule] = RULES
) -> np.ndarray:
    """What the rule book concludes; (n,) int8.

    Suspicious (1): more suspicious votes than normal ones, and a rule score above the budget's threshold.
    Presumed normal (0): no suspicious vote, and that of a rule that `clears`, such as ordinary_profile; a
    familiar pattern speaks for an event but clears nobody. Everything else stays undecided (-1).
    """
    clearing = [rule.name for rule in rules if rule.clears]
    if not clearing:
        raise ValueError(
            "No rule of this book says what is ordinary, so nothing could be presumed normal: "
            "keep ordinary_profile, or set clears=True for a rule that votes NORMAL."
        )
    against, for_it = ((votes == vote).sum(axis=1).to_numpy() for vote in (SUSPICIOUS, NORMAL))
    ordinary = (votes[clearing] == NORMAL).any(axis=1).to_numpy()
    extreme = rule_score(signals, rules) > thresholds["rule_score"]
    labels = np.full(len(votes), UNDECIDED, dtype=np.int8)
    labels[ordinary & (against == 0)] = NORMAL
    labels[(against > for_it) & extreme] = SUSPICIOUS
    return labels


def refine_labels(
    labels: np.ndarray, votes: pd.DataFrame, errors: np.ndarray, threshold: float
) -> np.ndarray:
    """Let the autoencoder correct the rule book.

    Suspicious but well rebuilt, or presumed normal but badly rebuilt: undecided. Undecided, well rebuilt and
    flagged by no rule: presumed normal. Where it would clear every suspicious event, it clears none, because
    then it has learned the trick itself, and a classifier needs examples. Where the rules suspect nobody, a
    warning says so, and what is badly rebuilt is suspicious.

    `labels` are (n,) int8 as `pseudo_labels` gives them, `votes` (n, rules), `errors` (n,) reconstruction
    errors, and `threshold` the error that the alert budget's share of the presumed normals exceeds.
    """
    badly_rebuilt = errors > threshold
    flagged = (votes == SUSPICIOUS).any(axis=1).to_numpy()
    refined = labels.copy()
    suspicious = labels == SUSPICIOUS
    if badly_rebuilt[suspicious].any():
        refined[suspicious & ~badly_rebuilt] = UNDECIDED
    elif not suspicious.any():
        warnings.warn("The rules suspect nobody here, so what is badly rebuilt is suspicious.", stacklevel=2)
        refined[badly_rebuilt] = SUSPICIOUS
    refined[(refined == NORMAL) & badly_rebuilt] = UNDECIDED
    refined[(labels == UNDECIDED) & ~badly_rebuilt & ~flagged] = NORMAL
    return refined
