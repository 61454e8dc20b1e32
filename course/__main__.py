"""The command line of the course: every `make NAME` is `python -m course NAME`."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import click
import pandas as pd

from course import notebooks, results
from helpers.files import CourseError, load_json, replace, to_json
from helpers.runs import BESIDES, READS_TRUTH, STAGES, record, run_folder, start
from helpers.settings import NOTEBOOKS, REFERENCE, RESULTS, ROOT

ELSEWHERE = {"SEED", "SOURCE", "ROWS", "START", "DEVICE"}  # a checkpoint names them, or they do not matter
MADE = ("timings.json", "summary.json", "summary.md", "figures", "notebooks", "checkpoints", "artifacts")
FORWARD = {"ignore_unknown_options": True, "help_option_names": []}  # options are another program's


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code, 1 with one sentence on stderr for a CourseError."""
    try:
        return cli.main(arguments, prog_name="python -m course", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("Stopped; what was handed over so far is kept.", file=sys.stderr)
        return 130
    except (CourseError, OSError) as error:
        advice = "; free some space or choose another folder." if getattr(error, "errno", None) else ""
        print(f"{error}{advice}", file=sys.stderr)
        return 1


@click.group(help=__doc__)
def cli() -> None:
    """Its help is the module's."""


# The notebooks and what comes of them


@cli.command("run")
@click.option("--source", "SOURCE", help="openml, snapshot, auto, or a file")
@click.option("--sort", "SORT", is_flag=True, default=None, help="put the file in the order of its time")
@click.option("--schema", "SCHEMA", help="a .toml file that says what its columns are")
@click.option("--rows", "ROWS", type=int, help="events to load")
@click.option("--start", "START", type=int, help="position of the first event")
@click.option("--seed", "SEED", type=int, help="seed of everything random")
@click.option("--out", default="default", help="the run: a name under runs/, or a path")
@click.argument("stages", metavar="[NOTEBOOK]...", nargs=-1, type=click.Choice(notebooks.notebooks()))
def run_command(out, stages, **given) -> None:
    """Run the notebooks in order, or these alone, into one run folder."""
    parameters = {name: value for name, value in given.items() if value is not None}
    for name in ("SOURCE", "SCHEMA"):
        path = parameters.get(name)
        if path not in ("auto", "openml", "snapshot") and os.path.exists(str(path)):
            parameters[name] = os.path.abspath(path)  # kernels work in another folder
    folder = run_folder(out)
    _run_notebooks(folder, sorted(set(stages)), **parameters)
    print(f"Artifacts, executed notebooks, figures and summary lie in {folder}.")


def _run_notebooks(folder: Path, stages: Sequence[str] = (), **parameters: object) -> None:
    """Run these notebooks; without any the whole sequence, afresh."""
    if not stages:
        stages = notebooks.sequence()
        _remove(*(folder / name for name in MADE))
    timings = load_json(folder / "timings.json")
    everything, copies = parameters | {"RUN": str(folder)}, folder / "notebooks"
    told = record(folder, "01_data_loading").get("parameters", {}) | parameters
    payments = not told.get("SCHEMA")  # which the exercises are about
    for stage, seconds in notebooks.execute(stages, everything, copies, exercises=payments):
        timings[stage] = seconds
        replace(folder / "timings.json", to_json(timings))
    if set(stages) & set(READS_TRUTH) and record(folder, "06_evaluation"):
        summary = results.summarise(folder, dict(sorted(timings.items())))
        replace(folder / "summary.json", to_json(summary))
        replace(folder / "summary.md", results.summary_markdown(summary))
        print(results.results_table(summary))


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:  # of a link not what it points at, which is somebody's own
            path.unlink(missing_ok=True)


@cli.command("results")
def results_command() -> None:
    """Run all with the defaults; publish in results/ what differs from the reference run."""
    folder = run_folder("default")
    _run_notebooks(folder)
    lie = f"artifacts, executed notebooks, figures and summary lie in {folder}"
    if results.as_reference(folder) and (RESULTS / "summary.json").is_file():
        print(f"As published in results/, which stays as it is; {lie}.")
    else:
        print(f"Other than the reference run, so published in {results.publish(folder)}; {lie}.")


@cli.command()
def reference() -> None:
    """Make this machine's run the reference: results/, its tables, and the guide's."""
    folder = run_folder(".reference")
    _run_notebooks(folder, SOURCE="snapshot")
    results.publish(folder)
    summary = load_json(folder / "summary.json")
    if beside := [stage for stage in notebooks.runnable() if stage in BESIDES]:
        _run_notebooks(folder, beside)
    made = {"parameters": {}, "checkpoints": {}} | load_json(REFERENCE)
    for stage in notebooks.notebooks():
        if ran := record(folder, stage):
            told = {name: value for name, value in ran["parameters"].items() if name not in ELSEWHERE}
            made["parameters"][stage] = told
        if checked := load_json(folder / "checkpoints" / f"{stage}.json"):
            made["checkpoints"][stage] = {name: one["value"] for name, one in checked.items()}
    made["settings"] = {key: summary["data"][key] for key in ("rows", "start")}
    made["settings"]["seed"] = record(folder, "06_evaluation")["parameters"]["SEED"]
    made["detectors"] = summary["detectors"]
    replace(REFERENCE, to_json(made))
    results.write_block(results.TABLES, "results", results.results_block(summary))
    results.write_block(results.GUIDE, "seconds", results.seconds_block(summary["timings_s"]))
    print("Wrote results/, the first table of its README.md and the guide's seconds.")


@cli.command("notebooks")
def notebooks_command() -> None:
    """Re-execute the committed notebooks in place, outputs cleaned."""
    folder = run_folder(".notebooks")
    _remove(folder)
    with patch.dict(os.environ, COURSE_RUNS=str(folder), COURSE_OFFLINE="1"):
        stages = [stage for stage, _ in notebooks.execute(notebooks.runnable(), {}, folder)]
        texts = {stage: notebooks.cleaned(folder / f"{stage}.ipynb", stage) for stage in stages}
        for stage, text in texts.items():
            replace(notebooks.notebook_path(stage), text)
    print(f"Wrote {len(texts)} notebooks with clean outputs.")


@cli.command()
@click.option("--repo", default="", help="owner/name on GitHub; without it as it is")
@click.option("--ref", default="", help="a branch or tag of the repository")
def publish(repo: str, ref: str) -> None:
    """Write address, navigation and first cells into all notebooks."""
    from course import publish as links

    address = links.parse_address(repo, ref) if repo or ref else links.current()
    changed = links.write(address)
    where = f"{address.repository} at {address.ref}" if address.repository else "no address yet"
    print(f"Notebooks and README agree ({where}); {len(changed)} files were rewritten.")


# Measurements


@cli.command()
def sweep() -> None:
    """Seeds, windows, ablations and streams into results/."""
    from course import sweep as fits

    *measured, _ = fits.run(run_folder("sweep"))
    for name, table in fits.tables(*measured).items():
        text = results.markdown_table(table)
        results.write_block(results.TABLES, name, text)
        print(text, end="\n\n")
    print("Wrote sweep, stream, wrong and worlds.csv in results/, and the tables of its README.md.")


@cli.command()
@click.option("--source", default="openml", show_default=True, help="openml, or a file of all events")
def unseen(source: str) -> None:
    """Measure this version on windows that nobody had looked at, into results/."""
    from course import sweep as fits

    table = fits.run_unseen(run_folder("unseen"), source, results.course_version())
    block = fits.unseen_block(table)
    results.write_block(results.TABLES, "unseen", block)
    print(block, "Wrote results/unseen.csv, and its tables in README.md.", sep="\n\n")


@cli.command()
def bench() -> None:
    """Compare with other packages' detectors, into results/."""
    from course import bench as peers

    results.write_table(peers.TABLE, peers.run(run_folder("bench")))
    page = peers.page(pd.read_csv(peers.TABLE))  # which has the digits that the table keeps
    replace(peers.TABLE.with_suffix(".md"), page)
    print(page, f"Published as benchmark.csv and .md in {peers.TABLE.parent}.", sep="\n")


@cli.command()
def scale() -> None:
    """Measure growth on one machine and Spark, and run notebook 08."""
    from course import growth
    from helpers import spark

    if problem := spark.lacking():
        raise CourseError(problem)
    run = start(*BESIDES)
    measured = growth.run(run_folder("scale"), run.path("detector.zip"), run.read("events.parquet"))
    replace(growth.TABLE, to_json(measured))
    _run_notebooks(run.folder, BESIDES)
    shutil.copyfile(run.folder / "figures" / "growth.png", growth.TABLE.with_suffix(".png"))
    print(f"{growth.TABLE} is what notebook 08 shows; executed, it lies in {run.folder / 'notebooks'}.")


# Checks, and other programs that are called with what they need


@cli.command(context_settings=FORWARD)
@click.argument("paths", nargs=-1, type=click.UNPROCESSED)
def test(paths: tuple[str, ...]) -> int:
    """Check everything, pytest, nbval and then lint; or PATHS alone, with pytest's options."""
    everything = ("notebooks", "tests", "--numprocesses=auto", "--maxprocesses=4")  # see tests/conftest.py
    with tempfile.TemporaryDirectory() as runs, patch.dict(os.environ, COURSE_RUNS=runs, COURSE_OFFLINE="1"):
        for path in paths:  # a notebook would catch up itself, and say so where nbval expects nothing
            if (stage := Path(path.split("::")[0]).stem) in STAGES:
                start(stage)
        failed = _call("pytest", "--nbval", "--nbval-current-env", "-rs", *(paths or everything))
    return max(failed, 0 if paths else lint.callback())


@cli.command(context_settings=FORWARD)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def faults(options: tuple[str, ...]) -> int:
    """Kill, fill, cut off and damage: the long tests; OPTIONS are pytest's, such as -k alone."""
    return _call("pytest", "tests/faults", "-rs", "--timeout=1500", *options)


@cli.command("colab-test")
def colab_test() -> int:
    """Every notebook alone among Colab's packages."""
    return _call("pytest", "tests/colab", "-q", "--timeout=1500")


@cli.command()
def site() -> int:
    """Build site/ from README, docs and executed notebooks, and look at its pages."""
    built = ROOT / "site"
    with tempfile.TemporaryDirectory() as scratch:
        new = Path(scratch, "html")  # Sphinx's notebooks lie beside it
        if _call("sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", str(new)):
            raise CourseError("The site was not built, and the old one stays: see the warnings above.")
        shutil.copyfile(new / "README.html", new / "index.html")
        _remove(new / ".doctrees", built)
        shutil.move(new, built)
    print(f"The front page is {built / 'index.html'}.")
    return _call("pytest", "tests/site", "-q", "-rfEs", "--timeout=300")


@cli.command()
def lint() -> int:
    """ruff, and imports that run one way."""
    from importlinter.cli import lint_imports

    cells, found = ("--config", "course/cells.toml", *map(str, NOTEBOOKS.glob("*.ipynb"))), []
    for check in (["check"], ["format", "--check"]):
        found += [_call("ruff", *check, "."), _call("ruff", *check, *cells)]
    with contextlib.chdir(ROOT):
        return max(*found, lint_imports(no_cache=True, no_logo=True))


@cli.command(context_settings=FORWARD)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def lab(options: tuple[str, ...]) -> int:
    """Open the notebooks in JupyterLab; OPTIONS are its own, such as --port 8899 or --allow-root."""
    first = f"/lab/tree/notebooks/{notebooks.notebooks()[0]}.ipynb"
    return _call("jupyterlab", f"--ServerApp.root_dir={ROOT}", f"--LabApp.default_url={first}", *options)


@cli.command()
def wheelhouse() -> None:
    """Fill wheelhouse/ with all wheels, for machines like this one without network."""
    from platform import machine

    new, pins = ROOT / ".wheelhouse.new", (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    torch = [pin for pin in pins if pin.startswith("torch==")] if sys.platform == "linux" else []
    small = [f"{pin}+cpu" for pin in torch if machine() == "x86_64"]  # no gigabytes of CUDA
    _remove(new)
    options = ("--disable-pip-version-check", "-c", "constraints.txt", "-w", str(new))
    if _call("pip", "wheel", *options, "setuptools", *small, "-r", "requirements-dev.txt"):
        raise CourseError(
            "The wheelhouse was not made: see pip's lines above. If it found no torch with +cpu, set "
            "PIP_EXTRA_INDEX_URL to the CPU index that pytorch.org shows, and run it again."
        )
    _remove(ROOT / "wheelhouse")
    os.replace(new, ROOT / "wheelhouse")
    print(f"{len(list((ROOT / 'wheelhouse').iterdir()))} wheels lie in wheelhouse/.")


def _call(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT).returncode


@cli.command()
def clean() -> None:
    """Remove runs/ and caches."""
    patterns = ("runs", "site", ".*_cache", ".hypothesis", "*/.ipynb_checkpoints")
    for pattern in (*patterns, "*/__pycache__", "*/*/__pycache__"):
        _remove(*ROOT.glob(pattern))


if __name__ == "__main__":
    sys.exit(main())
