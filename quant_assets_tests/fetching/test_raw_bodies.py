"""Bodies of sources, kept as they came."""

import datetime as dt
from pathlib import Path

import pyarrow as pa

from quant_assets.fetching.raw_bodies import RawBodies


def test_a_body_is_kept_once_as_it_came(tmp_path: Path) -> None:
    moments = iter(dt.datetime(2024, 6, 3, 22, minute, tzinfo=dt.UTC) for minute in range(3))
    bodies = RawBodies(tmp_path / "yahoo", lambda: next(moments))
    body = b'{"chart": {"result": null}}\xff' * 100
    bodies.keep("AAPL", body)
    bodies.keep("AAPL", body)
    bodies.keep("MSFT", body)
    bodies.keep("AAPL", b"other")
    kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.zst"))
    assert [path.rsplit("-", 1)[0] for path in kept] == [
        "yahoo/AAPL/20240603T220000Z",
        "yahoo/AAPL/20240603T220200Z",
        "yahoo/MSFT/20240603T220100Z",
    ]
    with pa.input_stream(str(tmp_path / kept[0]), compression="zstd") as file:
        assert file.read() == body
    assert (tmp_path / kept[0]).stat().st_size < len(body) / 10
    assert not list(tmp_path.rglob("*.new"))
