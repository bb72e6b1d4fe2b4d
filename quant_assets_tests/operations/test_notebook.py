"""The example of a notebook runs as it stands, but for its data folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import quant_assets
from quant_assets.warehouse.warehouse import Warehouse

ROOT = Path(__file__).parents[2]


def cells(text: str, home: Path) -> list[str]:
    moved = text.replace('HOME = "data/notebook"', f"HOME = {str(home)!r}")
    assert moved != text
    return re.split(r"(?m)^# %%.*$", moved)


def test_the_example_notebook_runs_cell_by_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    for cell in cells((ROOT / "examples" / "notebook.py").read_text("utf-8"), tmp_path):
        exec(compile(cell, "notebook", "exec"), names)
    said = capsys.readouterr().out
    assert "20 of 20 symbols; " in said
    assert "symbols have everything" in said
    assert "nothing is missing" in said
    with Warehouse(tmp_path / "warehouse.duckdb").reading() as con:
        assert con.execute("select count(distinct security_id) from daily_prices").fetchone() == (
            20,
        )


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_a_page_about_python_names_only_what_the_package_has(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    wanted = {
        name.strip(" ()\n")
        for names in re.findall(r"from quant_assets import (\([^)]*\)|[^\n]*)", text)
        for name in names.strip("()").split(",")
        if name.strip()
    }
    assert wanted
    assert wanted <= set(quant_assets.__all__)
