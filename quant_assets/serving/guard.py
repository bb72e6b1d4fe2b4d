"""The check in front of Dagster's webserver, which asks for no password and answers any web page.

A browser lets every page its user opens send requests to 127.0.0.1, and says in ``Host``,
``Origin`` and ``Sec-Fetch-Site`` where they come from. Programs such as curl send the first alone.
Logins and encryption are a proxy's work and do not belong here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "::1", "localhost")

GRAPHQL = "graphql"
HOLDS_DATA = (GRAPHQL, "logs", "download_debug", "notebook", "dagit")
"""Where a path begins that leads to data, not to a page or a file of the pages."""

FRAMES = ("embed", "fencedframe", "frame", "iframe", "object")
"""``Sec-Fetch-Dest`` of a page within another page, where clicks can be stolen."""

JSON = ("application/json", "application/graphql")
"""Content types that a browser sends to another site only after asking it."""


@dataclass(frozen=True)
class Guard:
    """An ASGI application that passes on to ``app`` what does not come from another site.

    A request by a name that is not in ``hosts`` gets 421; with None any name will do. ``allowed``
    are names that pages may have besides the one they ask by, behind a proxy.
    """

    app: ASGIApp
    hosts: Collection[str] | None
    allowed: Collection[str] = ()

    @classmethod
    def on(cls, app: ASGIApp, host: str, allowed_hosts: Collection[str]) -> Guard:
        """The guard of a server that listens on the address ``host``.

        On a loopback address it goes by the names of one and those allowed. On another, whose names
        its users alone know, any name will do until one is allowed.
        """
        allowed = frozenset(_name(f"//{name}") for name in allowed_hosts)
        if allowed or is_loopback(host):
            return cls(app, allowed.union((*LOOPBACK, host)), allowed)
        return cls(app, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self.hosts is not None and not self._is_asked_by_name(headers):
            return PlainTextResponse(
                "The Host header of this request is no name of this server. Open it as "
                f"{', '.join(sorted(self.hosts))}; the setting allowed_hosts adds the name of a "
                "proxy or tunnel.\n",
                421,
            )
        if self._is_foreign(headers) and not _is_safe(scope, headers):
            return PlainTextResponse(
                "This request comes from a page of another site, and nothing is done for it. If "
                "that site is a proxy of yours, add its name to the setting allowed_hosts.\n",
                403,
            )
        if scope["type"] == "http" and scope["path"] == f"/{GRAPHQL}":
            return _unless_posted(scope, headers)
        return None

    def _is_asked_by_name(self, headers: Headers) -> bool:
        hosts = headers.getlist("host")
        return len(hosts) == 1 and _name(f"//{hosts[0]}") in (self.hosts or ())

    def _is_foreign(self, headers: Headers) -> bool:
        own = headers.get("host", "").lower()
        for origin in headers.getlist("origin"):
            _, _, host = origin.lower().partition("://")
            if host != own and _name(origin) not in self.allowed:
                return True
        return headers.get("sec-fetch-site") in ("cross-site", "same-site")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _name(address: str) -> str:
    """The host of an address, without its port; empty where it can't be read."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_safe(scope: Scope, headers: Headers) -> bool:
    """Whether a request gets a page, as a link does, or a file of the pages."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and scope["path"].split("/")[1] not in HOLDS_DATA
        and headers.get("sec-fetch-dest") not in FRAMES
    )


def _unless_posted(scope: Scope, headers: Headers) -> PlainTextResponse | None:
    """Refuse a query in the address, where Dagster executes mutations too."""
    if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        return None  # Dagster answers with a page to write queries on
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] == "POST" and kind in JSON:
        return None
    return PlainTextResponse(
        "GraphQL is asked by POST, with the query in a body of the type application/json.\n", 405
    )
