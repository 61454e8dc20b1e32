"""What a run is shown as: its summary, results/, and the tables in results/README.md and the guide."""

import platform
import tomllib
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from helpers.files import CourseError, load_json, replace
from helpers.runs import checked_artifact, record
from helpers.settings import BUDGET, BUDGET_IN_WORDS, RESULTS, ROOT, TRAIN_SHARE

TABLES = RESULTS / "README.md"
GUIDE = ROOT / "docs" / "instructor-guide.md"
PACKAGES = ("numpy", "pandas", "scikit-learn", "torch", "xgboost", "matplotlib", "papermill")


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Python's version and those of packages; None for one that is not installed."""
    installed = {package.name.lower(): package.version for package in distributions()}
    return {"python": platform.python_version()} | {name: installed.get(name) for name in names}


def course_version() -> str:
    """The version of the course that is here."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def summarise(folder: Path, timings: dict[str, float]) -> dict[str, Any]:
    """What 06 and 07 found in a run, with seconds per notebook and the versions of PACKAGES."""
    found = load_json(checked_artifact(folder, "evaluation.json")[0])
    summary = {"data": found["data"], "detectors": found["detectors"], "timings_s": timings}
    summary["versions"] = versions(PACKAGES)
    if record(folder, "07_streaming_simulation"):
        summary["stream"] = load_json(checked_artifact(folder, "stream.json")[0])
    return summary


def results_table(summary: dict[str, Any]) -> str:
    """The detectors of a summary as an aligned Markdown table, one row each."""
    from helpers import evaluation, plots

    table = evaluation.results_table(summary["detectors"])
    return markdown_table(table.rename({name: label for name, (label, _) in plots.DETECTORS.items()}))


def write_table(path: Path, table: Any) -> Any:
    """Write a DataFrame as CSV, without its index; gives it back."""
    replace(path, table.to_csv(index=False, float_format="%.6g"))
    return table


def markdown_table(table: Any) -> str:
    """A DataFrame of text as an aligned Markdown table, its index first."""
    table = table.reset_index()
    rows = [list(table.columns), *table.to_numpy().tolist()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def summary_markdown(summary: dict[str, Any]) -> str:
    """A summary as a page: the data, the table, the seconds and the versions."""
    data = summary["data"]
    last = data["start"] + data["rows"] - 1
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in summary["timings_s"].items())
    versions = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    return (
        f"# One run in numbers\n\nEvents {data['start']:,} to {last:,} (source: {data['source']}); "
        f"{data['frauds_train']} frauds in the training set, {data['frauds_test']} in the test "
        f"set, on which everything below is measured.\n\n{results_table(summary)}\n\n"
        f"Seconds per notebook: {seconds}.\n\nVersions: {versions}.\n"
    )


def as_reference(folder: Path) -> bool:
    """Whether every checkpoint of a run says what the reference run said, within its tolerance."""
    checks = [one for path in (folder / "checkpoints").glob("*.json") for one in load_json(path).values()]
    return bool(checks) and all(check["as_reference"] for check in checks)


def publish(folder: Path) -> Path:
    """Copy a run's summary and figures to results/, each file whole, and take other figures away."""
    made = [folder / "summary.json", folder / "summary.md", *(folder / "figures").glob("*.png")]
    for path in made:
        replace(RESULTS / path.relative_to(folder), path.read_bytes())
    for path in (RESULTS / "figures").glob("*.png"):
        if not (folder / "figures" / path.name).exists():
            path.unlink()
    return RESULTS


def with_block(path: Path, name: str, block: str) -> str:
    """The text of a page with a block between its markers of that name."""
    start, end = f"<!-- {name}:start -->\n", f"<!-- {name}:end -->"
    page = path.read_text(encoding="utf-8")
    if start not in page or end not in page:
        raise CourseError(f"{path.name} lacks the lines {start.strip()} and {end}.")
    return page.partition(start)[0] + start + block + "\n" + end + page.partition(end)[2]


def write_block(path: Path, name: str, block: str) -> None:
    """Put a block between a page's markers of that name."""
    replace(path, with_block(path, name, block))


def results_block(summary: dict[str, Any]) -> str:
    """The first table of results/README.md, and what it is measured on."""
    data = summary["data"]
    tested = data["rows"] - int(TRAIN_SHARE * data["rows"])
    return (
        f"{results_table(summary)}\n\n"
        f"*Test set of the first window: {tested:,} events, "
        f"{data['frauds_test']} frauds in some twenty campaigns, so intervals are wide. AP is average "
        f"precision with a 95 % interval from a bootstrap over campaigns; the budget is {BUDGET_IN_WORDS}, "
        f"{int(tested * BUDGET)} alerts. The naive rule is the one line that this course's predecessor "
        "used; the fully supervised reference is trained on true labels, which nobody would have. "
        "Written by `make reference`.*"
    )


def seconds_block(timings: dict[str, float]) -> str:
    """The guide's table of seconds."""
    rows = [f"| {name} | {seconds:.0f} |" for name, seconds in timings.items()]
    return "\n".join(["| notebook | seconds |", "| --- | --- |", *rows])
