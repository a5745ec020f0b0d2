"""The notebook of the examples runs from its first cell to its last, in a folder that holds what it names."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_cells(notebook: Path) -> tuple[dict[str, Any], list[Any]]:
    """What its code cells define, and the value of the last expression of each."""
    cells = json.loads(notebook.read_text())["cells"]
    names: dict[str, Any] = {}
    values: list[Any] = []
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        *statements, last = ast.parse("".join(cell["source"])).body
        assert isinstance(last, ast.Expr), f"cell {number} shows nothing"
        where = f"{notebook.name}, cell {number}"
        exec(compile(ast.Module(statements, []), where, "exec"), names)
        values.append(eval(compile(ast.Expression(last.value), where, "eval"), names))
    return names, values


def test_the_notebook_runs_and_its_steps_give_what_the_restorer_gives(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(EXAMPLES)
    names, values = run_cells(EXAMPLES / "restore.ipynb")
    comparison, account, same, referenced, likeness = values
    assert comparison.width > names["result"].image.width
    assert account["faces"][0]["matched"]
    assert same is True
    assert referenced.size == (256, 256)
    assert names["alone"].tobytes() != referenced.tobytes()
    assert likeness["referenced"] > likeness["alone"]


def test_the_notebook_is_kept_without_what_it_showed():
    cells = json.loads((EXAMPLES / "restore.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
