"""Requests to Yahoo: yfinance's session, its cookie and crumb, and Yahoo's refusals."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from quant_assets.contracts.source import RateLimited, SourceUnavailable
from quant_assets.fetching.bounds import MOST_HOPS, Body, next_hop, pieces_of, too_many_hops
from quant_assets.fetching.http import retry_after_seconds
from quant_assets.fetching.pace import Paced
from quant_assets.sources.yahoo.chart import read_body
from quant_assets.sources.yahoo.fields import SOURCE

HOST = "https://query2.finance.yahoo.com"
CHART_PATH = "/v8/finance/chart/"
CRUMB_PATH = "/v1/test/getcrumb"
_YFINANCE = ("yfinance._http", "yfinance.data", "yfinance.exceptions")

CRUMB_AFTER_SECONDS = 900.0
"""How long to do without a crumb after one was refused, since the chart needs none, and without
another cookie after one that did not help."""

LONGEST_CRUMB = 64

_STOP = 0xFFFFFFFF
"""CURL_WRITEFUNC_ERROR: what a callback returns to end a response."""


@dataclass(frozen=True)
class ChartResponse:
    """A chart or Yahoo's error, in the form that yfinance passes through.

    Its status is always 200: a 404 is an answer too, and yfinance would repeat the request.
    """

    url: str
    payload: Mapping[str, Any]
    body: bytes
    status_code: int = 200


class Transport:
    """yfinance's requests, each paced, with every response judged before yfinance sees it.

    Three habits of yfinance are undone on the one instance here. After any failure it resends at
    once with another cookie; only 401 and 403 reach it. It stores any response of getcrumb, "Too
    Many Requests" included, as the crumb, and without one requests it again before every chart. It
    keeps cookies in a database in the user's home.
    """

    def __init__(
        self,
        paced: Paced,
        clock: Callable[[], dt.datetime],
        base_url: str,
        timeout_seconds: float,
    ) -> None:
        # Importing them takes half a second, which only a request to Yahoo should cost.
        http, data, exceptions = map(import_module, _YFINANCE)
        logging.getLogger("yfinance").addHandler(logging.NullHandler())
        self._paced, self._clock = paced, clock
        self._base_url, self._timeout_seconds = base_url, timeout_seconds
        self._by_curl = http.HAS_CURL_CFFI
        self._unreachable = http.requests.exceptions.RequestException
        self._no_crumb = exceptions.YFRateLimitError
        self._crumb_lock, self._renewal_lock = threading.Lock(), threading.Lock()
        self._without_crumb_until = self._no_renewal_until = 0.0
        session = http.new_session()
        self._send, session.request = session.request, self._request
        self._data = object.__new__(data.YfData)  # the class itself hands out its only instance
        data.YfData.__init__(self._data, session)
        self._with_crumb = self._data._get_cookie_and_crumb
        self._data._get_cookie_and_crumb = self._cookie_and_crumb
        # Instead of its database: the session keeps its cookies, and they stay valid as long.
        self._data._load_cookie_curlCffi = lambda: False
        self._data._save_cookie_curlCffi = lambda: setattr(self._data, "_cookie", True)

    def chart(self, symbol: str, span: Mapping[str, int]) -> ChartResponse:
        """The chart of a symbol in Yahoo's spelling. Raises SourceError and PacingError."""
        query = {
            **span,
            "interval": "1d",
            "events": "div,splits,capitalGains",
            "includePrePost": "false",
        }
        response = self._data.get(f"{HOST}{CHART_PATH}{quote(symbol, safe='')}", query)
        # Any other response is the page behind a consent form, which yfinance has sent.
        return response if isinstance(response, ChartResponse) else _read(response)

    def _request(self, method: str, url: str, **options: Any) -> Any:
        """In place of the session's own ``request``."""
        options |= {"timeout": self._timeout_seconds, "allow_redirects": False}
        path, address = urlsplit(url).path, self._rewritten(url)
        # Without a chart it is no fault for pacing: Yahoo answers without cookie and crumb as well.
        send = self._chart if path.startswith(CHART_PATH) else self._sent
        for _ in range(MOST_HOPS + 1):
            response = self._paced(partial(send, method, address, dict(options)))
            location = _location(response)
            if not location:
                break
            target = next_hop(address, location, SOURCE, SOURCE, _is_yahoos).geturl()
            ours = urlsplit(target).hostname == urlsplit(address).hostname
            address = target if ours else self._rewritten(target)
            method, options = _as_redirected(method, response.status_code, options)
        else:
            raise too_many_hops(SOURCE, SOURCE)
        if response is None or (path == CRUMB_PATH and not _is_crumb(response)):
            raise self._no_crumb
        return response

    def _rewritten(self, url: str) -> str:
        if not self._base_url:
            return url
        parts, base = urlsplit(url), urlsplit(self._base_url)
        path = base.path.rstrip("/") + parts.path
        return urlunsplit((base.scheme, base.netloc, path, parts.query, ""))

    def _sent(self, method: str, url: str, options: Mapping[str, Any]) -> Any:
        try:
            return self._bounded(method, url, options)
        except self._unreachable:
            return None

    def _bounded(self, method: str, url: str, options: Mapping[str, Any]) -> Any:
        """A response whose body is of bounded size; its time-out is that of the whole."""
        body = Body()
        if not self._by_curl:
            response = self._send(method, url, **options, stream=True)
            all(body.take(piece) for piece in pieces_of(response))
            response.close()
            response._content = body.whole(SOURCE, f"{SOURCE}'s answer")
            return response

        def take(piece: bytes) -> int:
            return len(piece) if body.take(piece) else _STOP

        try:
            response = self._send(method, url, **options, content_callback=take)
        except self._unreachable:
            body.whole(SOURCE, f"{SOURCE}'s answer")  # raises where that is why it was broken off
            raise
        response.content = body.whole(SOURCE, f"{SOURCE}'s answer")
        return response

    def _chart(self, method: str, url: str, options: Mapping[str, Any]) -> Any:
        try:
            response = self._bounded(method, url, options)
        except self._unreachable as error:
            message = f"{SOURCE} could not be reached: {str(error).partition(' See http')[0]}"
            raise SourceUnavailable(SOURCE, message) from error
        status = response.status_code
        if _location(response) or _asks_for_consent(response.url):
            return response
        if status in (401, 403) and self._may_renew():
            return response
        if status in (429, 999):
            raise RateLimited(SOURCE, retry_after_seconds(response.headers, self._clock()))
        if status >= 500 or status in (401, 403):
            raise SourceUnavailable(SOURCE, f"{SOURCE} answered with HTTP {status}.")
        return _read(response)

    def _may_renew(self) -> bool:
        """Whether yfinance may try another cookie: once in ``CRUMB_AFTER_SECONDS``."""
        with self._renewal_lock:
            due = time.monotonic() >= self._no_renewal_until
            if due:
                self._no_renewal_until = time.monotonic() + CRUMB_AFTER_SECONDS
            return due

    def _cookie_and_crumb(self, timeout: float = 30) -> tuple[str | None, str]:
        """In place of yfinance's own: at most one failure in ``CRUMB_AFTER_SECONDS``."""
        with self._crumb_lock:
            if time.monotonic() >= self._without_crumb_until:
                try:
                    crumb, strategy = self._with_crumb(timeout)
                except (self._no_crumb, AttributeError, KeyError, TypeError):
                    crumb = None  # the last three: a consent page without what yfinance expects
                if crumb:
                    return crumb, strategy
                self._without_crumb_until = time.monotonic() + CRUMB_AFTER_SECONDS
            return None, self._data._cookie_strategy


def _location(response: Any) -> str:
    """Where a response leads; empty where it is no redirect."""
    leads = not isinstance(response, ChartResponse | None) and 300 <= response.status_code < 400
    return str(response.headers.get("Location") or "") if leads else ""


def _is_yahoos(host: str) -> bool:
    return host == "yahoo.com" or host.endswith(".yahoo.com")


def _as_redirected(
    method: str, status: int, options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Method and options of the request that follows a redirect, as a browser has them."""
    again = {name: value for name, value in options.items() if name != "params"}
    if status in (307, 308):
        return method, again
    return "GET", {name: value for name, value in again.items() if name not in ("data", "json")}


def _read(response: Any) -> ChartResponse:
    return ChartResponse(response.url, read_body(response.content), response.content)


def _is_crumb(response: Any) -> bool:
    text = response.text
    plain = text.isascii() and text.isprintable() and not set(text) & set(" <>{}")
    return response.status_code == 200 and 0 < len(text) <= LONGEST_CRUMB and plain


def _asks_for_consent(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith("consent.yahoo.com")
