"""The command line of the course: every `make NAME` is `python -m course NAME`."""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course import notebooks, results
from helpers import evaluation
from helpers.files import CourseError, environment, load_json, locked, replace, to_json, writing
from helpers.runs import BESIDES, READS_TRUTH, read_manifest, run_folder, start
from helpers.settings import REFERENCE, ROOT


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code, 1 with one sentence on stderr for a CourseError."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "function"):
        parser.print_help()
        return 0
    try:
        return chosen.function(chosen) or 0
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}; free some space or choose another folder.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was handed over so far is kept.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course", description=__doc__)
    commands = parser.add_subparsers(metavar="CMD")
    for name, function, text in (
        ("run", _command_run, "run the notebooks in order into one run folder"),
        ("results", _command_results, "run all with the defaults and publish to results/"),
        ("bench", _command_bench, "compare with other packages' detectors, into results/"),
        ("scale", _command_scale, "measure growth on one machine and Spark, and run notebook 08"),
        ("notebooks", _command_notebooks, "re-execute the committed notebooks in place"),
        ("reference", _command_reference, "rewrite results/reference.json and README's table"),
        ("sweep", _command_sweep, "seeds, windows, ablations and streams into results/"),
        ("test", _command_test, "check everything: ruff, pytest, nbval"),
        ("faults", _command_faults, "kill, fill, cut off and damage: the long tests"),
        ("lint", _command_lint, "ruff alone"),
        ("colab-test", _command_colab_test, "every notebook alone among Colab's packages"),
        ("site", _command_site, "build site/ from the executed notebooks and look at its pages"),
        ("publish", _command_publish, "write address, navigation and Colab links into all notebooks"),
        ("lab", _command_lab, "open the notebooks in JupyterLab"),
        ("clean", _command_clean, "remove runs/ and caches"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if name == "run":
            _add_run_options(command)
        if name == "publish":
            command.add_argument("--repo", default="", help="owner/name on GitHub; without it as it is")
            command.add_argument("--ref", default="", help="a tag of the repository")
        if name == "bench":
            command.add_argument("--limit", type=float, default=300.0, help="seconds a peer and window")
            command.add_argument("--fresh", action="store_true", help="run again what is finished")
        if name == "scale":
            command.add_argument("--skip-growth", action="store_true", help="run the notebook alone")
    return parser


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--source", help="openml, snapshot, auto, or a file")
    command.add_argument("--rows", type=int, help="events to load")
    command.add_argument("--start", type=int, help="position of the first event")
    command.add_argument("--seed", type=int, help="seed of everything random")
    command.add_argument("--out", default="default", help="the run: a name under runs/, or a path")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="run these alone")
    which.add_argument("--from", dest="begin", metavar="NOTEBOOK", help="run this and what follows")
    command.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )


def _command_run(arguments: argparse.Namespace) -> None:
    stages, folder = notebooks.sequence(), run_folder(arguments.out)
    for named, known in ((arguments.only, notebooks.notebooks()), ([arguments.begin], [None, *stages])):
        for stage in named or []:
            if stage not in known:
                raise CourseError(
                    f"There is no notebook {stage}; choose from {', '.join(filter(None, known))}."
                )
    if arguments.only:
        stages = [stage for stage in notebooks.notebooks() if stage in arguments.only]
    elif arguments.begin:
        stages = stages[stages.index(arguments.begin) :]
    parameters = {name: _value(value) for name, value in arguments.parameters}
    for name in ("source", "rows", "start", "seed"):
        if getattr(arguments, name) is not None:
            parameters[name.upper()] = getattr(arguments, name)
    source = parameters.get("SOURCE")
    if source not in ("auto", "openml", "snapshot") and os.path.exists(str(source)):
        parameters["SOURCE"] = os.path.abspath(source)  # kernels work in another folder
    if "RUN" in parameters:
        raise CourseError("The parameter RUN is given with --out.")
    _run_notebooks(folder, stages, parameters, afresh=not (arguments.only or arguments.begin))
    print(f"Artifacts, executed notebooks, figures and summary lie in {folder}.")


def _value(text: str) -> Any:
    """A parameter as papermill's own command line reads it: number, True, False, None or text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _run_notebooks(folder: Path, stages: list[str], parameters: dict[str, Any], afresh: bool) -> None:
    notebooks.check_declared(stages, parameters)
    with locked(folder), writing(folder):
        if afresh:
            _start_over(folder)
        timings = load_json(folder / "timings.json")
        everything = parameters | {"RUN": str(folder)}
        for stage, seconds in notebooks.execute(stages, everything, folder / "notebooks"):
            timings[stage] = seconds
            replace(folder / "timings.json", to_json(timings))
        if set(stages) & set(READS_TRUTH) and "06_evaluation" in read_manifest(folder):
            summary = results.summarise(folder, timings)
            replace(folder / "summary.json", to_json(summary))
            replace(folder / "summary.md", results.summary_markdown(summary))
            print(results.results_table(summary))


def _start_over(folder: Path) -> None:
    for name in ("manifest.json", "checkpoints.json", "timings.json", "summary.json", "summary.md"):
        (folder / name).unlink(missing_ok=True)
    for name in ("figures", "notebooks"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _command_results(_: argparse.Namespace) -> None:
    folder = run_folder("default")
    _run_notebooks(folder, notebooks.sequence(), {}, afresh=True)
    if not (folder / "summary.json").is_file():
        raise CourseError("There are no results, because 06_evaluation has not run.")
    published = results.publish(folder)
    print(f"Published in {published}; artifacts and executed notebooks lie in {folder}.")


def _command_bench(arguments: argparse.Namespace) -> None:
    from course import bench

    folder, published = run_folder("bench"), ROOT / "results"
    try:
        with locked(folder):
            pages = bench.pages(bench.run(folder, arguments.limit, arguments.fresh))
    except (ValueError, OSError) as error:
        raise CourseError(str(error)) from None
    for name, content in pages.items():
        replace(published / name, content)
    print(pages["benchmark.md"])
    print(f"Published as benchmark.* in {published}; what the peers printed lies in {folder}.")


def _command_scale(arguments: argparse.Namespace) -> None:
    from course import growth
    from helpers import scaling, spark

    if problem := spark.lacking():
        raise CourseError(problem)
    (stage,) = BESIDES
    run = start(stage)
    if not arguments.skip_growth:
        work = run_folder("scale")
        with locked(work), writing(work):
            measured = growth.run(work, run.path("detector.zip"), run.read("events.parquet"))
        for path, content in growth.pages(measured).items():
            replace(path, content)
        print(scaling.table(measured).round(2).to_string(index=False))
    _run_notebooks(run.folder, [stage], {}, afresh=False)
    print(f"Published {scaling.TABLE}; the executed notebook lies in {run.folder / 'notebooks'}.")


def _command_sweep(_: argparse.Namespace) -> None:
    from course import sweep

    for name in ("windows", "stream"):
        results.write_into_readme(name)
    with locked(run_folder("sweep")):
        try:
            variants, streamed = sweep.run(run_folder("sweep"))
        except RuntimeError as error:
            raise CourseError(str(error)) from None
    windows = evaluation.over_windows(variants, "variant", "average_precision")
    found = evaluation.found_over_windows(streamed)
    for name, table in (
        ("windows", windows.rename_axis("average precision")),
        ("stream", found.rename_axis("frauds found")),
    ):
        text = results.markdown_table(table)
        results.write_into_readme(name, text)
        print(text, end="\n\n")
    print(f"Wrote {sweep.TABLE}, {sweep.STREAM_TABLE} and the tables of both windows in README.md.")


def _command_notebooks(_: argparse.Namespace) -> None:
    with _scratch("notebooks") as folder, environment(COURSE_RUNS=str(folder), COURSE_OFFLINE="1"):
        stages = [stage for stage, _ in notebooks.execute(notebooks.runnable(), {}, folder)]
        texts = {stage: notebooks.cleaned(folder / f"{stage}.ipynb", stage) for stage in stages}
        for stage, text in texts.items():
            replace(notebooks.notebook_path(stage), text)
    print(f"Wrote {len(texts)} notebooks with clean outputs.")


def _command_reference(_: argparse.Namespace) -> None:
    results.write_into_readme("results")
    with _scratch("reference") as folder:
        _run_notebooks(folder, notebooks.runnable(), {"SOURCE": "snapshot"}, afresh=True)
        summary = load_json(folder / "summary.json")
        seed = read_manifest(folder)["06_evaluation"]["parameters"]["SEED"]
        known = load_json(REFERENCE).get("checkpoints", {})
        beside = {stage: known[stage] for stage in BESIDES if stage in known}
        reference = {
            "settings": {key: summary["data"][key] for key in ("rows", "start")} | {"seed": seed},
            "checkpoints": beside | load_json(folder / "checkpoints.json"),
            "detectors": summary["detectors"],
        }
        replace(REFERENCE, to_json(reference))
        results.write_into_readme("results", results.results_table(summary))
    print("Wrote results/reference.json and the table in README.md.")


@contextlib.contextmanager
def _scratch(name: str) -> Iterator[Path]:
    """A folder beside the runs for one command; stays after a failure, to look into."""
    folder = run_folder(ROOT / "runs" / f".{name}")
    with locked(folder), writing(folder):
        for child in folder.iterdir():
            if child.name != ".lock":
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        yield folder
    shutil.rmtree(folder)


def _command_test(arguments: argparse.Namespace) -> int:
    lint = _command_lint(arguments)
    with (
        tempfile.TemporaryDirectory() as runs,
        environment(COURSE_RUNS=runs, COURSE_OFFLINE="1"),
        notebooks.kernels(),
    ):
        return _call("pytest", "--nbval", "-rs", "tests", "notebooks") or lint


def _command_faults(_: argparse.Namespace) -> int:
    return _call("pytest", "tests/faults", "-rs")


def _command_colab_test(_: argparse.Namespace) -> int:
    return _call("pytest", "tests/colab", "-q")


def _command_site(_: argparse.Namespace) -> int:
    from course import website

    pages = website.build()
    print(f"{len(pages)} pages; the front page is {website.SITE / 'index.html'}.")
    return _call("pytest", "tests/site", "-q", "-rfEs")


def _command_publish(arguments: argparse.Namespace) -> None:
    from course import publish

    if arguments.repo or arguments.ref:
        address = publish.parse_address(arguments.repo, arguments.ref)
    else:
        address = publish.current()
    changed = publish.publish(address)
    where = f"{address.repository} at {address.ref}" if address.repository else "no address yet"
    print(f"Notebooks and README agree ({where}); {len(changed)} files were rewritten.")


def _command_lint(_: argparse.Namespace) -> int:
    return _call("ruff", "check", ".") + _call("ruff", "format", "--check", ".")


def _command_lab(_: argparse.Namespace) -> int:
    with notebooks.kernels():
        return _call("jupyterlab", "notebooks")


def _call(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT).returncode


def _command_clean(_: argparse.Namespace) -> None:
    patterns = ("runs", "site", ".site.new", ".results.*", ".*_cache", ".hypothesis", "*/__pycache__")
    for pattern in (*patterns, "*/.ipynb_checkpoints"):
        for folder in ROOT.glob(pattern):
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
