"""A secret planted in each place that shows, notes, logs or keeps something is in none of them.

What is masked of a text is tested with the journal, the settings file with the settings.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from quant_assets.cli.app import app
from quant_assets.contracts.one_subject import UnforeseenAnswerError
from quant_assets.contracts.source import BadAnswer
from quant_assets.fetching.raw_bodies import RawBodies
from quant_assets.reference.secrets import masked
from quant_assets.warehouse.writer_lock import WriterLock

NOW = dt.datetime(2024, 6, 3, 22, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ftp://u:hush@h.test/x.csv", "ftp://********@h.test/x.csv"),
        ("/data/ftp:/u:hush@h.test/x.csv", "/data/ftp:/********@h.test/x.csv"),
        ("https://u:hu/sh@h.test/x", "https://********@h.test/x"),
        ("https://h.test/cb#access_token=hush", "https://h.test/cb#access_token=********"),
        (
            '{"next":"https://h.test/?k=hush","close":[1.5]}',
            '{"next":"https://h.test/?k=********","close":[1.5]}',
        ),
        ('{"token":"hush","close":[1.5]}', '{"token":"********","close":[1.5]}'),
        ('{"headers":{"symbol":"Symbol"}}', '{"headers":{"symbol":"Symbol"}}'),
    ],
)
def test_addresses_and_bodies_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "words",
    [
        ("universe", "import", "--from=ftp://u:hush@h.test/x?token=hush"),
        ("universe", "create", "mine", "--from=s3://u:hush@h.test/x"),
        ("files", "inspect", "https://u:hush@h.test/x?token=hush"),
        ("refresh", "--symbols", "https://u:hush@h.test/x?token=hush"),
        ("refresh", "--source", "https://u:hush@h.test/x?token=hush"),
        ("prices", "--start", "https://u:hush@h.test/x"),
        ("https://u:hush@h.test/x",),
    ],
)
def test_no_error_of_the_command_line_echoes_a_secret(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    environment = {"QUANT_ASSETS_CONFIG": "", "QUANT_ASSETS_HOME": str(tmp_path / "home")}
    shown = CliRunner().invoke(app, list(words), env=environment)
    assert shown.exit_code > 0
    assert shown.stderr
    assert "hush" not in shown.output + shown.stderr


def test_the_note_of_who_holds_the_lock_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["quant-assets", "universe", "import", "--from=https://u:hush@h.test?token=hush"]
    monkeypatch.setattr(sys, "argv", command)
    lock = WriterLock(tmp_path / "lock", lambda: NOW)
    with lock.held(0, "an import"):
        assert "quant-assets universe import --from=https://********@h.test" in lock.holder()
        assert not [path for path in tmp_path.iterdir() if "hush" in path.read_text()]


def test_a_kept_body_has_no_secret_and_is_else_as_it_came(tmp_path: Path) -> None:
    body = b'{"crumb": "hush", "next": "https://h.test/?a=hush", "name": "\xff\xc3\xa9", "c": [1]}'
    RawBodies(tmp_path, lambda: NOW).keep("AAPL", body)
    [path] = tmp_path.rglob("*.zst")
    with pa.input_stream(str(path), compression="zstd") as file:
        assert file.read() == body.replace(b"hush", b"********")


def test_a_source_s_error_has_no_secret_wherever_it_is_told() -> None:
    cause = ValueError("no rows at https://u:hush@h.test/?key=hush")
    told = [UnforeseenAnswerError("yahoo", "AAPL", cause), BadAnswer("yahoo", "token=hush is old")]
    assert [text for text in map(str, told) if "hush" in text] == []
    assert str(told[1]) == "token=******** is old"
