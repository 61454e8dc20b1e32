"""Notebook 9, the sessions themselves: the simulated world, its figures and its checkers."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from checker import as_pair, ask, checker, compare
from helpers import plots
from helpers.schema import Schema
from helpers.settings import ALERTS, BLOCK
from n02 import flagged, this_is_a_rule

# --- the simulated world

DISTINCT = ("title", "dev_id", "cdm", "drm", "enc_frmt", "ip", "country")  # of which a day's are counted
SHARES = {"dev_type": "abcd", "drm_type": "abc", "enc_frmt": "abc"}
SESSIONS = Schema(  # an account's day on a streaming service; the first six names are Netflix's
    counts=(
        *("license_cnt", *(f"dist_{name}_cnt" for name in DISTINCT)),
        *("failed_cnt", "busiest_hour_cnt", "dist_hour_cnt", "night_cnt"),
    ),
    shares=(*(f"{name}_{kind}_pct" for name in SHARES for kind in SHARES[name]), "mismatch_pct"),
    key="account",
    time="day",
    window=7,
)

ABUSED, THROTTLE = 0.012, 0.2  # share of account-days; of a campaign's strength, kept in the second half
ABUSE = ("content_fraud", "service_fraud", "account_fraud")  # Netflix's three categories
TYPES, SYSTEMS, FORMATS = 4, 3, 6  # device types (television, telephone, browser, console), DRM, encodings
CARRIES = np.array([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.05, 0.1, 0.85], [0.1, 0.9, 0.0]])  # DRM by type
_PLAYS = [[0, 5, 15, 35, 30, 15], [20, 40, 30, 10, 0, 0], [15, 35, 40, 10, 0, 0], [0, 10, 30, 35, 20, 5]]
PLAYS = np.array(_PLAYS) / 100  # the best encoding that a device of a type plays
TITLES, HOME, FOREIGN = 5_000, 0, 1_000  # the catalogue; the first number of addresses at home and elsewhere
ACCOUNTS = 1_000  # in a block, which has a generator of its own: more accounts never change the first ones
KINDS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) == 1
OFTEN = [0.26, 0.40, 0.19, 0.06, 0.03, 0.03, 0.03]  # Netflix's shares of campaigns that commit these


def simulate(accounts: int = 2_500, days: int = 30, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate a world; the same arguments give the same one.

    Returns:
        (n, 25) one row per account and day with at least one licence request, in order of days: 12 counts,
        11 shares, account and day. And (n, 3) int8: whether it is content, service or account fraud.
    """
    if accounts < 1 or days < 2:
        raise ValueError("A world needs accounts, and two days or more.")
    blocks = []
    for first in range(0, accounts, ACCOUNTS):
        block = _Block(np.random.default_rng([seed, first]), min(ACCOUNTS, accounts - first), days)
        ordinary = block.legitimate()
        wanted = ABUSED * len(ordinary[["account", "day"]].drop_duplicates())
        requests = pd.concat([ordinary, *block.campaigns(wanted)], ignore_index=True)
        blocks.append(_described(requests, days, first))
    table = pd.concat(blocks, ignore_index=True)
    shuffled = table.iloc[np.random.default_rng([seed, accounts, days]).permutation(len(table))]
    table = shuffled.sort_values("day", kind="stable", ignore_index=True).rename_axis("event")
    return table.drop(columns=list(ABUSE)), table[list(ABUSE)].astype(np.int8)


class _Block:
    """Some accounts: who lives there and what they own."""

    def __init__(self, draw: np.random.Generator, accounts: int, days: int) -> None:
        self.draw, self.accounts, self.days = draw, accounts, days
        members = 1 + draw.binomial(4, 0.35, accounts)
        self.rate = 0.8 * members**0.7 * draw.lognormal(0, 0.4, accounts)  # evenings in front of something
        self.night = draw.beta(1.2, 9, accounts)
        trait = {"flaky": 0.03, "tester": 0.004, "vpn": 0.02, "flat": 0.04, "child": 0.12, "buggy": 0.003}
        self.trait = {name: draw.random(accounts) < share for name, share in trait.items()}
        owned = 1 + draw.poisson(0.6 * members) + 10 * self.trait["tester"] + 3 * self.trait["flat"]
        self.last = np.cumsum(owned) - 1  # devices stand in a row, account by account
        self.begin = self.last + 1 - owned
        owner = np.repeat(np.arange(accounts), owned)
        n = len(owner)
        self.type = _choose(draw, draw.dirichlet([3.0, 3.5, 2.0, 1.5], accounts)[owner])
        self.system = _choose(draw, CARRIES[self.type])
        self.format = _choose(draw, PLAYS[self.type])
        self.upto = np.cumsum(draw.gamma(0.8, 1.0, n) + 0.05)
        new = (draw.random(n) < 0.12) & (np.arange(n) != self.begin[owner])
        christmas = np.where(draw.random(n) < 0.5, int(0.8 * days), draw.integers(0, days, n))
        self.since = np.where(new, christmas, 0)
        self.below = np.append(0, self.upto)[self.begin]
        self.total = self.upto[self.last] - self.below
        self.binge = draw.beta(0.5, 12, accounts)
        self.trip = self._spells(0.08, 5)
        self.bad = self._spells(0.25, 3) & self.trait["flaky"][:, None]
        self.repeat = (draw.random((accounts, days)) < 0.25) & self.trait["child"][:, None]

    def _spells(self, share: float, length: float) -> np.ndarray:
        """(accounts, days) bool: some accounts have a spell of some days."""
        draw, n, days = self.draw, self.accounts, np.arange(self.days)
        begin = np.where(draw.random(n) < share, draw.integers(0, self.days, n), self.days)
        end = begin + 1 + draw.poisson(length, n)
        return (days >= begin[:, None]) & (days < end[:, None])

    def legitimate(self) -> pd.DataFrame:
        """The requests of the households themselves."""
        draw = self.draw
        week = np.array([0.9, 0.85, 0.85, 0.9, 1.15, 1.3, 1.25])[np.arange(self.days) % 7]
        binge = draw.random((self.accounts, self.days)) < self.binge[:, None]
        mood = draw.gamma(4, 1 / 4, (self.accounts, self.days))
        sittings = draw.poisson(self.rate[:, None] * week * mood * np.where(binge, 2.5, 1.0)).ravel()
        where = np.repeat(np.arange(sittings.size), sittings)
        n, (account, day) = len(where), np.divmod(where, self.days)
        bad, repeat, binge = (flags.ravel()[where] for flags in (self.bad, self.repeat, binge))
        aim = self.below[account] + draw.random(n) * self.total[account]
        device = np.clip(np.searchsorted(self.upto, aim), self.begin[account], self.last[account])
        device = np.where(self.since[device] > day, self.begin[account], device)  # not bought yet
        hour = _evening(draw, self.night[account], self.trait["child"][account] & repeat)
        requests = 1 + draw.poisson(0.2 + 1.5 * binge + 2.0 * repeat + 2.0 * bad)
        title = (TITLES * draw.random(n) ** 3).astype(int)
        away, hidden = self.trip.ravel()[where], self.trait["vpn"][account] & (draw.random(n) < 0.5)
        roaming = (self.type[device] == 1) & (draw.random(n) < 0.35)
        place = np.where(roaming, 1 + draw.integers(0, 3, n), HOME)
        place = np.where(self.trait["flat"][account], place + 5 * draw.integers(0, 3, n), place)
        place = np.where(hidden, 50 + draw.integers(0, 2, n), np.where(away, 40, place))
        country = np.where(hidden, 2 + account % 5, away.astype(int))
        i, nth = _each(requests)
        n, device = len(i), device[i]
        slow = draw.random(n) >= 0.85  # too slow for the usual encoding
        odd = self.trait["buggy"][account[i]] & (draw.random(n) < 0.3)
        updated = draw.random(n) < 0.01
        system = np.where(odd, draw.integers(0, SYSTEMS, n), self.system[device])
        worse = np.where(slow, draw.integers(1, 3, n), 0)
        who = {"account": account[i], "day": day[i], "ip": place[i], "country": country[i]}
        what = {"hour": (hour[i] + nth // 3) % 24, "title": title[i] + np.where(binge[i], nth, 0)}
        what["failed"] = draw.random(n) < np.where(bad[i], 0.5, 0.02)
        by = {"dev_id": device, "cdm": device + 100_000 * updated, "type": self.type[device], "drm": system}
        by["enc_frmt"] = np.maximum(self.format[device] - worse, 0)
        return pd.DataFrame(who | what | by).assign(**dict.fromkeys(ABUSE, False))

    def campaigns(self, wanted: float) -> list[pd.DataFrame]:
        """The requests of abuse: each campaign goes through a few accounts with one tool."""
        draw, found = self.draw, []
        while wanted > 0:
            size, kinds = int(draw.integers(2, 7)), KINDS[draw.choice(len(KINDS), p=OFTEN)]
            account = draw.choice(self.accounts, min(size, self.accounts), replace=False)
            begin = draw.integers(-2, self.days) + draw.integers(0, 3, len(account))
            i, nth = _each(draw.geometric(0.35, len(account)))
            account, day = account[i], begin[i] + nth
            inside = (day >= 0) & (day < self.days)
            account, day = account[inside], day[inside]
            wanted -= len(day)
            bold = np.where(day < self.days / 2, draw.lognormal(0, 0.4), THROTTLE)
            strength = bold * draw.lognormal(0, 0.35, len(day))
            limits = {"type": TYPES, "system": SYSTEMS, "hour": 24, "place": 10**6}
            tool = {name: int(draw.integers(0, limit)) for name, limit in limits.items()}
            for kind in np.compress(kinds, ABUSE):
                requests = self._abuse(kind, account, day, strength, tool)
                found.append(requests.assign(**dict(zip(ABUSE, kinds, strict=True))))
        return found

    def _abuse(self, kind, account, day, strength, tool) -> pd.DataFrame:
        """What one kind of abuse requests on its account-days, one row per request."""
        draw, n = self.draw, len(day)
        wishes = {"content_fraud": (1, 9, 1.0), "service_fraud": (2, 8, 2.0), "account_fraud": (1, 3, 0.7)}
        least, more, devices = wishes[kind]
        failures = draw.poisson((4.0 if kind == "account_fraud" else 0.4) * strength)
        good = least + draw.poisson(more * strength)
        many = 1 + draw.poisson(devices * strength)
        i, nth = _each(good + failures)
        slot = draw.integers(0, many[i])
        first = FOREIGN + tool["place"]
        device = FOREIGN * 1_000 + first % 997 * 1_000 + account[i] % 1_000 * 37 + slot
        own = draw.random(n)[i] < 0.4  # through the household's own line
        if kind == "content_fraud":
            type_ = np.full(len(i), tool["type"])
            formats = np.minimum(1 + draw.poisson(1.8 * strength), FORMATS)[i]
            system = np.where(draw.random(len(i)) < 0.4, draw.integers(0, SYSTEMS, len(i)), tool["system"])
            format_ = FORMATS - formats + draw.integers(0, formats)
            hour, place = (tool["hour"] + nth // 12) % 24, first
        else:
            type_ = np.where(draw.random(len(i)) < 0.7, tool["type"], draw.integers(0, TYPES, len(i)))
            type_ = type_ if kind == "service_fraud" else _choose(draw, np.full((n, TYPES), 0.25))[i]
            system, format_ = _choose(draw, CARRIES[type_]), _choose(draw, PLAYS[type_])
            hour = _evening(draw, np.full(len(i), 0.3), False)  # many people, one evening
            place = first + (slot if kind == "service_fraud" else 0)
        who = {"account": account[i], "day": day[i], "ip": np.where(own, HOME, place)}
        who["country"] = np.where(own, 0, 10 + first % 7)
        what = {"hour": hour, "title": draw.integers(0, TITLES, len(i)), "failed": nth >= good[i]}
        by = {"dev_id": device, "cdm": device, "type": type_, "drm": system, "enc_frmt": format_}
        return pd.DataFrame(who | what | by)


def _each(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whose each of sum(counts) items is, and its number among those of its owner."""
    whose = np.repeat(np.arange(len(counts)), counts)
    return whose, np.arange(len(whose)) - np.repeat(np.cumsum(counts) - counts, counts)


def _choose(draw: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    """One column for each row of (n, k) chances."""
    limits = np.cumsum(chances, axis=1)
    return (draw.random(len(chances))[:, None] * limits[:, -1:] > limits).sum(axis=1)


def _evening(draw: np.random.Generator, night: np.ndarray, child: np.ndarray | bool) -> np.ndarray:
    n = len(night)
    hour = np.where(draw.random(n) < night, draw.normal(25.5, 1.5, n), draw.normal(20, 2.2, n))
    return np.floor(np.where(child, draw.normal(16, 2, n), hour)).astype(int) % 24


def _described(requests: pd.DataFrame, days: int, first: int) -> pd.DataFrame:
    """One row per account-day with its 23 features, its account, its day and its truth."""
    where, cell = np.unique((requests["account"] * days + requests["day"]).to_numpy(), return_inverse=True)
    n, total = len(where), np.bincount(cell)

    def count(flags: np.ndarray) -> np.ndarray:
        return np.bincount(cell, weights=flags, minlength=n)

    hours = np.bincount(cell * 24 + requests["hour"], minlength=24 * n).reshape(n, 24)
    device, system, encoding = (requests[name].to_numpy() for name in ("type", "drm", "enc_frmt"))
    distinct = requests[[*DISTINCT]].groupby(cell).nunique()
    features = {"license_cnt": total} | dict(distinct.add_prefix("dist_").add_suffix("_cnt"))
    features["failed_cnt"] = count(requests["failed"]).astype(int)
    features |= {"busiest_hour_cnt": hours.max(axis=1), "dist_hour_cnt": (hours > 0).sum(axis=1)}
    features["night_cnt"] = hours[:, :6].sum(axis=1)
    for (name, letters), values in zip(SHARES.items(), (device, system, encoding // 2), strict=True):
        features |= {f"{name}_{kind}_pct": count(values == i) / total for i, kind in enumerate(letters)}
    features["mismatch_pct"] = count(CARRIES[device, system] == 0) / total
    features |= {"account": first + where // days, "day": where % days}
    return pd.DataFrame(features | {name: count(requests[name]) > 0 for name in ABUSE})


# --- figures

MODELS = {  # as figures and tables call them; a detector keeps its colour
    "heuristics": ("heuristics, by votes", plots.ORANGE),
    "isolation_forest": plots.DETECTORS["isolation_forest"],
    "neighbours": ("fifth neighbour", plots.GREY),
    "mixture": ("mixture of 10", plots.GREY),
    "autoencoder": ("autoencoder", plots.BLUE),
    "distance": ("distance alone", plots.BROWN),
    "xgboost": ("XGBoost on heuristic labels", plots.RED),
    "xgboost_smote": ("XGBoost with SMOTE", plots.PINK),
    "xgboost_without": ("XGBoost without leaking columns", plots.VIOLET),
    "without_past": ("detector on plain numbers", plots.BROWN),
    "detector": ("detector", plots.GREEN),
    "learner": ("learner with reviews", plots.WINE),
    "every_label": ("learner with every label", plots.SKY),
    "supervised": plots.DETECTORS["supervised"],
}
SPAN = 5  # days that share a bar
DUELS = (  # first, second, and by which measure
    ("xgboost", "xgboost_without", "f1_heuristics"),
    ("xgboost", "xgboost_without", "f1_truth"),
    ("xgboost_smote", "xgboost", "found"),
    ("detector", "heuristics", "found"),
    ("detector", "distance", "found"),
    ("detector", "without_past", "found"),
    ("detector", "supervised", "found"),
    ("learner", "detector", "found"),
    ("every_label", "learner", "found"),
)


def leakage(f1: pd.DataFrame, guess: float | None = None) -> Figure:
    """F1 of every classifier against the heuristics' labels and against the truth."""
    said, real = (f1.loc[["xgboost", "xgboost_without"], by] for by in ("heuristics", "truth"))
    title = "Without the leaking columns, F1 against the heuristics goes from {:.2f} to {:.2f}".format(*said)
    title += ", against the truth from {:.2f} to {:.2f}".format(*real)
    figure, axes = plots.single(title, "F1, mean over the three categories")
    rows = np.arange(len(f1))
    for shift, by, colour in ((0, "heuristics", plots.GREY), (0.4, "truth", plots.GREEN)):
        bars = axes.barh(rows + shift, f1[by], 0.38, color=colour, label=f"against the {by}")
        axes.bar_label(bars, fmt="%.2f", padding=4, fontsize="small")
    axes.set_yticks(rows + 0.2, [MODELS[name][0] for name in f1.index])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15)
    plots.guessed(axes, guess, loc="lower right", frameon=True, framealpha=1, edgecolor="white")
    return figure


def caught_by_day(caught: pd.Series, half: float, guess: float | None = None) -> Figure:
    """Share of the abused account-days that a heuristic flags, for every five days, and of each half."""
    early, late = caught[caught.index < half], caught[caught.index >= half]
    title = f"Heuristics flag {early.mean():.0%} of the abused account-days in the first half"
    title += f", {late.mean():.0%} in the second"
    figure, axes = plots.single(title, "day", "share of abused\naccount-days flagged", height=3.2)
    spans = caught.groupby(caught.index // SPAN * SPAN).agg(["mean", "sum", "size"])
    bars = axes.bar(spans.index, spans["mean"], 0.9 * SPAN, align="edge", color=plots.ORANGE, alpha=0.6)
    counts = [f"{flagged} of {n}" for flagged, n in zip(spans["sum"], spans["size"], strict=True)]
    axes.bar_label(bars, counts, label_type="center")
    for part, begin, end in ((early, 0, half), (late, half, spans.index[-1] + SPAN)):
        axes.hlines(part.mean(), begin, end, color=plots.BLUE, lw=2)
    axes.set_ylim(0, 1)
    plots.percent(axes.yaxis, 0)
    plots.guessed(axes, guess, upright=False)
    return figure


def found_in_sessions(found: pd.Series, abused: int, k: int) -> Figure:
    """Abused account-days among the k alerts of every model."""
    title = f"With {k} alerts the detector finds {found['detector']} of {abused} abused account-days"
    title += f", on plain numbers {found['without_past']}, the heuristics {found['heuristics']}"
    x = f"found among {k} alerts, {ALERTS} of every {BLOCK:,} account-days"
    figure, axes = plots.single(title, x, height=4.4)
    plots.bars(axes, found.sort_values(ascending=False).to_dict(), "{:.0f}", MODELS)
    return figure


def over_worlds(found: pd.DataFrame) -> Figure:
    """What every model finds more or less than the detector in the same world; a dot per world, the mean a
    line."""
    more = found.drop(columns="detector").sub(found["detector"], axis=0)
    fewer = (more < 0).sum()
    title = f"The detector finds more than the heuristics in {fewer['heuristics']} of {len(found)} worlds"
    title += f", more than on plain numbers in {fewer['without_past']}"
    x = "abused account-days found, more or less than by the detector in the same world"
    figure, axes = plots.single(title, x, height=4.4)
    means = more.mean().sort_values(ascending=False)
    spread = np.linspace(-0.25, 0.25, len(more))
    for row, name in enumerate(means.index):
        axes.scatter(more[name], row + spread, s=14, color=MODELS[name][1], alpha=0.7, lw=0)
        axes.vlines(means[name], row - 0.35, row + 0.35, color=MODELS[name][1], lw=3)
    axes.axvline(0, color=plots.GREEN, ls=":")
    plots.rows(axes, [MODELS[name][0] for name in means.index])
    return figure


def duels(worlds: pd.DataFrame) -> pd.DataFrame:
    """Two models, world by world: their means, and in how many worlds the first is ahead, equal or behind."""
    rows = {}
    for first, second, measure in DUELS:
        table = worlds.pivot(index="seed", columns="model", values=measure)[[first, second]]
        ahead = np.sign(table[first] - table[second])
        counts = " / ".join(str((ahead == sign).sum()) for sign in (1, 0, -1))
        names = f"{measure}: {MODELS[first][0]} against {MODELS[second][0]}"
        rows[names] = *table.mean().round(2), counts
    return pd.DataFrame.from_dict(rows, "index", columns=["first", "second", "ahead / equal / behind"])


@checker
def check_9a(attempt: Callable) -> str:
    """Exact match and Hamming loss of several answers at once."""
    real = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0], [1, 0, 1]])
    answers = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    right = real == answers
    exact, single = right.all(axis=1).mean(), right.mean()
    loss, counts = 1 - single, [right.all(axis=1).sum(), (~right).sum()]
    slips = {
        "The first is the share of right answers; all three of a row must be right.": [single, loss],
        "The second is the share of right answers; the loss counts the wrong ones.": [exact, single],
        "The second counts rows; the Hamming loss counts single answers.": [exact, 1 - exact],
        "These are counts; divide the first by the rows, the second by all the answers.": counts,
        "This is the wrong way round: exact match first.": [loss, exact],
    }
    found = as_pair(ask(attempt, real, answers), "exact match, Hamming loss")
    compare(found, [exact, loss], slips)
    return "right. Where categories are rare, the Hamming loss is small even if the answer is always no."


@checker
def check_9b(attempt: Callable, facts: pd.DataFrame, thresholds: dict[str, float], said: pd.DataFrame) -> str:
    """What a heuristic of the learner's own does on the training days."""
    praise = this_is_a_rule(flagged(attempt, facts, thresholds), said == 1)
    return f"{praise} Whether these are abuse, only the truth can say."
