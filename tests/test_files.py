"""helpers/files.py: bundles without pickle, and nothing dangerous anywhere in the code."""

import ast
import io
import re
import zipfile
from dataclasses import make_dataclass

import nbformat
import numpy as np
import pandas as pd
import pytest
from sandbox import refused

from helpers.files import load, load_json, replace, sha256, to_bytes, to_json
from helpers.settings import ROOT

STAMP = "small toy, version 1"


Inner = make_dataclass("Inner", ["values", "table"])
Outer = make_dataclass("Outer", ["name", "share", "settings", "inner"])
KINDS = {"Inner": Inner, "Outer": Outer}
TABLE = pd.DataFrame({"a": [1.5, np.nan], "b": ["x", "y"]}, pd.Index([3, 4], name="event"))
OUTER = Outer("ä", 0.1, {"low": [1, 2], "none": None}, Inner(np.arange(6, dtype=np.float32), TABLE))


def test_a_bundle_comes_back_as_it_went_and_is_the_same_bytes(tmp_path):
    (path := tmp_path / "b.zip").write_bytes(to_bytes(STAMP, OUTER))
    back = load(path, STAMP, KINDS, "")
    assert (back.name, back.share, back.settings) == (OUTER.name, OUTER.share, OUTER.settings)
    np.testing.assert_array_equal(back.inner.values, OUTER.inner.values, strict=True)
    pd.testing.assert_frame_equal(back.inner.table, TABLE)
    assert path.read_bytes() == to_bytes(STAMP, OUTER)


def crafted(values: str) -> bytes:
    """A bundle with a part that climbs out of the folder, and one that is a pickle."""
    with zipfile.ZipFile(made := io.BytesIO(), "w") as bundle:
        bundle.comment = STAMP.encode()
        bundle.writestr("../climbed", b"x")
        bundle.writestr("0.npy", b"\x80\x04cos\nsystem\n(S'touch x'\ntR.")
        bundle.writestr("thing.json", to_json({"$kind": "Inner", "values": {"$npy": values}, "table": 1}))
    return made.getvalue()


WHOLE = to_bytes(STAMP, OUTER)
DAMAGED = {
    "text": b"PK, but no more",
    "half": WHOLE[: len(WHOLE) // 2],
    "stamp": to_bytes("small toy, version 0", OUTER),
    "unknown kind": to_bytes(STAMP, make_dataclass("Stranger", [])()),
    "parts": crafted("1.npy"),
    "pickle": crafted("0.npy"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_or_foreign_bundle_is_one_sentence_and_writes_nothing(tmp_path, damage):
    replace(path := tmp_path / "in" / "damaged.zip", DAMAGED[damage])
    before = set(tmp_path.rglob("*"))
    sentence = r"^damaged.zip is not a toy that this version of the course saved \(.+\): fit it again[.]$"
    sentence = sentence.replace(".+", ".+version 0.+") if damage == "stamp" else sentence
    with refused(sentence):
        load(path, STAMP, KINDS, "fit it again")
    assert set(tmp_path.rglob("*")) == before


def test_json_is_one_text_of_a_value_and_damaged_json_one_sentence(tmp_path):
    assert to_json({"b": np.array([1.5]), "a": "ä"}) == '{\n  "a": "ä",\n  "b": [\n    1.5\n  ]\n}\n'
    with pytest.raises(ValueError):
        to_json({"a": float("nan")})
    path = tmp_path / "a.json"
    assert load_json(path) == {}
    for content in (b"{", b"[]", b"\xff\xfe"):
        path.write_bytes(content)
        with refused(r"a.json is damaged; delete it and run the notebooks again."):
            load_json(path)
    assert sha256(path) == "b3d510ef04275ca8e698e5b3cbb0ece3949ef9252f0cdc839e9ee347409a2209"


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = re.compile(
    r"^(eval|exec|compile|__import__|(os\.)?(system|popen)|subprocess\.getoutput|yaml\.load"
    r"|(shutil\.)?unpack_archive|torch\.(load|save)|(np|numpy)\.(load|save)|(pd\.)?read_pickle"
    r"|.*\.(to_pickle|extractall|extract)|(get_ipython\(\)|ip)\.(system|getoutput|run_cell_magic|run_line_magic))$"
)


def sources() -> dict[str, str]:
    """The code by name: both packages, what lies beside the notebooks, their cells but for the first one."""
    paths = [path for room in ("helpers", "course", "notebooks") for path in (ROOT / room).rglob("*.py")]
    found = {path.name: path.read_text(encoding="utf-8") for path in paths}
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
