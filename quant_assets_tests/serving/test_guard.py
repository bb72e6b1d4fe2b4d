"""What the guard passes on to Dagster's webserver, by where a request comes from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from quant_assets.serving.guard import Guard

HERE = {"host": "127.0.0.1:3000"}
OWN = {**HERE, "origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}
FOREIGN = {**HERE, "origin": "http://evil.example", "sec-fetch-site": "cross-site"}
JSON = {"content-type": "application/json"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
PASSED = 200


async def _app(scope: Any, receive: Any, send: Any) -> None:
    kind = "websocket." if scope["type"] == "websocket" else ""
    await send({"type": f"{kind}http.response.start", "status": PASSED, "headers": []})


def answer(
    headers: Mapping[str, str],
    method: str = "GET",
    path: str = "/",
    *,
    host: str = "127.0.0.1",
    allowed: tuple[str, ...] = (),
) -> tuple[int, str]:
    """Status and text of an answer; the method WEBSOCKET opens one."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket" if method == "WEBSOCKET" else "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(Guard.on(_app, host, allowed)(scope, None, send))  # type: ignore[arg-type]  # it reads nothing
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent).decode()


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "[::1]:3000", "LOCALHOST.:80"])
def test_the_machine_is_known_by_its_own_names_on_any_port(host: str) -> None:
    assert answer({"host": host}) == (PASSED, "")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:3000", "10.0.0.7", "", "[", "localhost@evil"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
def test_another_name_is_refused_and_the_refusal_says_how_to_allow_it(
    host: str, method: str
) -> None:
    status, text = answer({"host": host, **JSON}, method, "/graphql")
    assert status == 421
    assert "Open it as 127.0.0.1, ::1, localhost; the setting allowed_hosts adds" in text


def test_a_request_without_a_name_is_refused() -> None:
    assert answer({})[0] == 421


@pytest.mark.parametrize(
    ("headers", "method", "path", "status"),
    [
        pytest.param(HERE, "GET", "/runs", PASSED, id="curl asks for a page"),
        pytest.param(HERE | JSON, "POST", "/graphql", PASSED, id="curl asks a query"),
        pytest.param(HERE, "WEBSOCKET", "/graphql", PASSED, id="a program subscribes"),
        pytest.param(OWN | JSON, "POST", "/graphql", PASSED, id="the UI's page asks"),
        pytest.param(OWN, "WEBSOCKET", "/graphql", PASSED, id="the UI's page subscribes"),
        pytest.param(OWN, "GET", "/logs/a/compute.out", PASSED, id="the UI's page shows a log"),
        pytest.param(HERE | LINK, "GET", "/runs/1", PASSED, id="a link in a mail"),
        pytest.param(FOREIGN, "GET", "/favicon.png", PASSED, id="a file of the pages"),
        pytest.param(FOREIGN | JSON, "POST", "/graphql", 403, id="a foreign page asks"),
        pytest.param(FOREIGN, "OPTIONS", "/graphql", 403, id="a foreign page asks whether it may"),
        pytest.param(FOREIGN, "GET", "/graphql", 403, id="a foreign page asks by GET"),
        pytest.param(FOREIGN, "WEBSOCKET", "/graphql", 403, id="a foreign page subscribes"),
        pytest.param(HERE | LINK, "GET", "/graphql", 403, id="a link to a query"),
        pytest.param(HERE | LINK, "GET", "/logs/a/compute.out", 403, id="a link to a log"),
        pytest.param(HERE | LINK, "POST", "/", 403, id="a form of a foreign page"),
        pytest.param(
            HERE | LINK | {"sec-fetch-dest": "iframe"}, "GET", "/runs", 403, id="a frame around it"
        ),
        pytest.param(
            FOREIGN, "POST", "/report_asset_materialization/daily_prices", 403, id="a report"
        ),
        pytest.param(
            HERE | JSON | {"origin": "null"}, "POST", "/graphql", 403, id="a page without origin"
        ),
        pytest.param(
            HERE | JSON | {"origin": "http://["}, "POST", "/graphql", 403, id="an unreadable origin"
        ),
        pytest.param(
            HERE | JSON | {"origin": "http://127.0.0.1:8888"},
            *("POST", "/graphql", 403),
            id="a page of another port",
        ),
        pytest.param(
            HERE | JSON | {"sec-fetch-site": "same-site"},
            *("POST", "/graphql", 403),
            id="a neighbouring site",
        ),
    ],
)
def test_pages_of_other_sites_get_nothing_but_pages(
    headers: Mapping[str, str], method: str, path: str, status: int
) -> None:
    assert answer(headers, method, path)[0] == status


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        pytest.param("GET", {"accept": "*/*"}, 405, id="a query in the address"),
        pytest.param("HEAD", {"accept": "text/html"}, 405, id="its head"),
        pytest.param("POST", {}, 405, id="posted, in the address"),
        pytest.param("POST", {"content-type": "text/plain; application/json"}, 405, id="as text"),
        pytest.param("POST", {"content-type": "application/json; charset=utf-8"}, PASSED, id="ok"),
        pytest.param("GET", {"accept": "text/html,*/*"}, PASSED, id="the page to write queries on"),
    ],
)
def test_graphql_is_asked_by_post_alone(
    method: str, headers: Mapping[str, str], status: int
) -> None:
    assert answer(HERE | headers, method, "/graphql")[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(
            {"host": "db.example", "origin": "https://db.example"}, PASSED, id="a proxy keeps Host"
        ),
        pytest.param(
            {"host": "127.0.0.1:3000", "origin": "https://db.example"}, PASSED, id="or rewrites it"
        ),
        pytest.param(
            {"host": "db.example", "origin": "https://evil.example"}, 403, id="another page"
        ),
        pytest.param({"host": "evil.example"}, 421, id="another name"),
    ],
)
def test_a_proxy_is_reached_by_the_name_that_is_allowed(
    headers: Mapping[str, str], status: int
) -> None:
    assert answer(headers | JSON, "POST", "/graphql", allowed=("db.example",))[0] == status


def test_an_address_for_others_has_any_name_until_one_is_allowed() -> None:
    assert answer({"host": "db:3000"}, host="0.0.0.0")[0] == PASSED
    foreign = {"host": "db:3000", "origin": "http://evil.example"}
    assert answer(foreign | JSON, "POST", "/graphql", host="0.0.0.0")[0] == 403
    assert answer({"host": "db:3000"}, host="0.0.0.0", allowed=("DB",))[0] == PASSED
    assert answer({"host": "evil.example"}, host="0.0.0.0", allowed=("DB",))[0] == 421
