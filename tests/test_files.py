"""helpers/files.py: bundles without pickle, and nothing dangerous anywhere in the code."""

from __future__ import annotations

import ast
import io
import re
import zipfile
from dataclasses import dataclass

import nbformat
import numpy as np
import pandas as pd
import pytest
from sandbox import assert_one_sentence

from helpers.files import CourseError, load, load_json, replace, sha256, to_bytes, to_json
from helpers.settings import ROOT

STAMP = "toy, version 1"


@dataclass
class Inner:
    values: np.ndarray
    table: pd.DataFrame


@dataclass
class Outer:
    name: str
    share: float
    settings: dict
    inner: Inner


KINDS = {"Inner": Inner, "Outer": Outer}


@pytest.fixture
def outer() -> Outer:
    table = pd.DataFrame({"a": [1.5, np.nan], "b": ["x", "y"]}, pd.Index([3, 4], name="event"))
    return Outer("ä", 0.1, {"low": [1, 2], "none": None}, Inner(np.arange(6.0).reshape(2, 3), table))


def test_a_bundle_comes_back_as_it_went_and_is_the_same_bytes(outer, tmp_path):
    content = to_bytes(STAMP, outer)
    assert content == to_bytes(STAMP, outer)
    (path := tmp_path / "b.zip").write_bytes(content)
    back = load(path, STAMP, KINDS, "")
    assert (back.name, back.share, back.settings) == (outer.name, outer.share, outer.settings)
    np.testing.assert_array_equal(back.inner.values, outer.inner.values)
    pd.testing.assert_frame_equal(back.inner.table, outer.inner.table)


@pytest.mark.parametrize("damage", ["text", "half", "stamp", "parts", "unknown kind", "pickle"])
def test_a_damaged_or_foreign_bundle_is_one_sentence_and_writes_nothing(outer, tmp_path, damage):
    content, kinds, path = to_bytes(STAMP, outer), KINDS, tmp_path / "in" / "damaged.zip"
    if damage in ("text", "half"):
        content = b"PK, but no more" if damage == "text" else content[: len(content) // 2]
    elif damage == "stamp":
        content = to_bytes("toy, version 0", outer)
    elif damage == "unknown kind":
        kinds = {"Outer": Outer}
    else:
        with zipfile.ZipFile(made := io.BytesIO(), "w") as bundle:
            bundle.comment = STAMP.encode()
            bundle.writestr("../climbed", b"x")
            bundle.writestr("0.npy", b"\x80\x04cos\nsystem\n(S'touch x'\ntR.")
            thing = {"$kind": "Inner", "values": {"$npy": "0.npy" if damage == "pickle" else "1.npy"}}
            bundle.writestr("thing.json", to_json(thing | {"table": 1}))
        content = made.getvalue()
    replace(path, content)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(
        ValueError, match=r"^damaged.zip is not a .* that this version .*: fit it again"
    ) as caught:
        load(path, STAMP, kinds, "fit it again")
    assert_one_sentence(str(caught.value))
    assert ("version 0" in str(caught.value)) is (damage == "stamp")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"\xff\xfe"])
def test_damaged_json_is_one_sentence(tmp_path, content):
    path = tmp_path / "a.json"
    assert load_json(path) == {}
    path.write_bytes(content)
    with pytest.raises(CourseError, match=r"a.json is damaged; delete it and run the notebooks again."):
        load_json(path)


def test_json_is_one_text_of_a_value():
    assert to_json({"b": np.array([1.5]), "a": "ä"}) == '{\n  "a": "ä",\n  "b": [\n    1.5\n  ]\n}\n'
    with pytest.raises(ValueError):
        to_json({"a": float("nan")})


def test_a_changed_file_has_another_hash(tmp_path):
    (path := tmp_path / "a").write_bytes(b"one")
    first = sha256(path)
    path.write_bytes(b"three")
    assert sha256(path) != first and len(first) == 64


# --- nothing dangerous --------------------------------------------------------------------------------------

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = re.compile(
    r"^(eval|exec|compile|__import__|(os\.)?(system|popen)|subprocess\.getoutput|yaml\.load"
    r"|(shutil\.)?unpack_archive|torch\.(load|save)|(np|numpy)\.(load|save)|(pd\.)?read_pickle"
    r"|.*\.(to_pickle|extractall|extract)|(get_ipython\(\)|ip)\.(system|getoutput|run_cell_magic|run_line_magic))$"
)


def sources() -> dict[str, str]:
    """The code by name: both packages, what lies beside the notebooks, their cells but for the first one."""
    found = {
        path.name: path.read_text(encoding="utf-8")
        for room in ("helpers", "course", "notebooks")
        for path in (ROOT / room).rglob("*.py")
    }
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        found[path.name] = "\n".join([cell.source for cell in cells if cell.cell_type == "code"][1:])
    return found


def dangers(text: str) -> list[str]:
    """What in the code reads or writes pickle, unpacks archives, or hands text to a shell or to eval."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [name for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            safe = keywords.get("allow_pickle") == "False"
            name = ast.unparse(node.func)
            if keywords.get("shell", "False") != "False" or (FORBIDDEN_CALLS.match(name) and not safe):
                found.append(ast.unparse(node))
    return found


def test_no_pickle_shell_or_eval_is_in_the_code():
    found = sources()
    assert len(found) > 30
    assert found.pop("jobs.py").count("joblib") == 1  # keeps finished fits in runs/, for itself alone
    assert {name: dangers(text) for name, text in found.items() if dangers(text)} == {}


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from joblib import load", "eval(a)", "os.system(a)", "pd.read_pickle(a)"),
        *("subprocess.run(f'x {a}', shell=True)", "torch.load(a)", "np.load(a, allow_pickle=True)"),
        *("np.load(a)", "zipfile.ZipFile(a).extractall()", "get_ipython().system(a)"),
    ],
)
def test_the_search_for_dangers_finds_them(text):
    assert len(dangers(text)) >= 1
    assert dangers("subprocess.run([a])\nnp.save(a, b, allow_pickle=False)\njson.load(a)") == []
