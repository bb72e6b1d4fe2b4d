"""No answer is endless: its time, its size and its redirects are bounded, whoever is asked."""

from __future__ import annotations

import gzip
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from quant_assets.contracts.source import BadAnswer, Request, SourceUnavailable
from quant_assets.fetching.bounds import LARGEST_BODY, UnwantedAnswerError, within
from quant_assets.fetching.http import Response, fetch, judge, read_path
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.sources.yahoo.daily_prices import YahooSource
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.endless import BOMB, Server, serving

T = TypeVar("T")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def get(server: Server, path: str, total_seconds: float = 20.0) -> Response:
    address = server.url + path
    return fetch(
        address, "list", headers={}, total_seconds=total_seconds, pause=lambda seconds: None
    )


@pytest.mark.parametrize("path", ["/trickle", "/headers"])
def test_an_answer_that_trickles_is_given_up_in_all(server: Server, path: str) -> None:
    with pytest.raises(SourceUnavailable, match=r"can't be fetched: no whole answer within 0\.3 s"):
        get(server, path, total_seconds=0.3)


@pytest.mark.parametrize("path", ["/bomb", "/list.csv.gz", "/endless"])
def test_an_answer_that_is_too_large_is_not_held_in_memory(server: Server, path: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UnwantedAnswerError, match="is larger than 32 MB") as refused:
            get(server, path)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_BODY
    finally:
        tracemalloc.stop()
    assert judge(refused.value) is None  # the same request would bring it again


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(BOMB if packed else b" " * (LARGEST_BODY + 1))
    with pytest.raises(BadAnswer, match=r"list\.csv is larger than 32 MB, and was not read\."):
        read_path(str(path), "list")


def test_a_redirect_within_the_host_is_another_paced_request(server: Server) -> None:
    turns = []

    def paced(request: Callable[[], T]) -> T:
        turns.append(len(server.asked))
        return request()

    found = fetch(f"{server.url}/there", "list", headers={}, paced=paced)
    assert (found.body, found.address) == (b"Symbol\nAAPL\n", f"{server.url}/list.csv")
    assert turns == [0, 1]


def test_hops_wait_where_nothing_paces_the_requests(server: Server) -> None:
    waited: list[float] = []
    found = fetch(f"{server.url}/there", "list", headers={}, pause=waited.append)
    assert (found.body, waited) == (b"Symbol\nAAPL\n", [1.0])


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/away", "led to another host, localhost, and was not followed"),
        ("/down", "led to ftp://127.0.0.1, and was not followed"),
        ("/round", "leads from address to address, more than 5 times"),
    ],
)
def test_a_redirect_elsewhere_is_refused_in_a_sentence(
    server: Server, path: str, sentence: str
) -> None:
    with pytest.raises(UnwantedAnswerError, match=sentence):
        get(server, path)
    assert set(server.asked) == {path}


def test_a_list_that_is_packed_is_unpacked_wherever_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress(b"Symbol\nAAPL\n"))
    assert read_path(str(path), "list") == b"Symbol\nAAPL\n"


def test_what_is_waited_for_returns_and_raises_as_it_would_alone() -> None:
    assert within(5, lambda gone: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda gone: 1 // 0)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/trickle", "yahoo could not be reached: .*timed out"),
        ("/bomb", "yahoo's answer is larger than 32 MB, and was not read"),
        ("/away", "yahoo led to another host, localhost, and was not followed"),
        ("/round", "yahoo leads from address to address, more than 5 times"),
    ],
)
def test_yahoos_answers_have_the_same_bounds(server: Server, path: str, sentence: str) -> None:
    source = YahooSource(
        exchange_calendar("XNYS"),
        lambda request: request(),
        lambda: NOW,
        base_url=server.url + path,
        timeout_seconds=0.5 if path == "/trickle" else 20.0,
    )
    [answer] = source.fetch([Request("AAA", NOW.date(), NOW.date())])
    assert re.match(sentence, str(answer.failures["AAA"]))
