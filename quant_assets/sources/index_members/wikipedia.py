"""Wikipedia's list of S&P 500 companies: how it is requested, and which answers are refused.

The page itself is read in ``html.py``; the turns of its requests are in ``fetching/pacer.py``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from quant_assets.contracts.membership import UniverseAnswer
from quant_assets.contracts.source import BadAnswer
from quant_assets.fetching.http import (
    TIMEOUT_SECONDS,
    Refused,
    Response,
    fetch,
    is_address,
    read_path,
)
from quant_assets.fetching.pace import Pace, Paced, PacingError, PacingFileError, as_source_error
from quant_assets.reference.secrets import masked
from quant_assets.sources.index_members.html import WHAT_TO_DO, as_of_last_edit, read_page

if TYPE_CHECKING:
    from requests import Session

SOURCE = "wikipedia"

PACE = Pace(
    min_delay_seconds=1.0,
    hourly_cap=60,
    attempts=2,
    throttle_waits_seconds=(5.0,),
    patience_seconds=60.0,
)
"""Each fetch is one request. After a longer wait than this the next source is used instead."""

_HTML = ("text/html", "application/xhtml+xml")


def user_agent(contact: str) -> str:
    """Our name and contact, by https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy.

    The names of browsers and of bare libraries get a 403.
    """
    by = contact or "no contact given"
    return f"quant_assets/{version('quant_assets')} (S&P 500 research database; {by})"


@dataclass(frozen=True)
class WikipediaSource:
    """Members and changes from the page at ``url``, or saved in a file at that path.

    ``paced`` makes the request, ``clock`` gives the time (aware). ``contact`` is a mail address or
    page of the user.
    """

    url: str
    paced: Paced = field(repr=False)
    clock: Callable[[], dt.datetime] = field(repr=False)
    contact: str = ""
    session: Session | None = field(default=None, repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS

    def fetch_universe(self) -> UniverseAnswer:
        """One request, unless it fails. Raises SourceUnavailable, RateLimited and BadAnswer."""
        if not is_address(self.url):
            body = read_path(self.url, SOURCE)
            return as_of_last_edit(read_page(body, self.url, SOURCE), body)
        response = self._response()
        self._check_kind(response)
        return read_page(response.body, masked(self.url), SOURCE)

    def _response(self) -> Response:
        headers = {"User-Agent": user_agent(self.contact)}
        try:
            return fetch(
                self.url,
                SOURCE,
                headers=headers,
                session=self.session,
                timeout_seconds=self.timeout_seconds,
                paced=self.paced,
            )
        except Refused as error:
            if error.status == 403 and not self.contact:
                hint = "It may require a contact: set universe.contact."
                raise Refused(SOURCE, f"{error} {hint}", error.status) from error
            raise
        except (PacingError, PacingFileError) as error:
            raise as_source_error(error, SOURCE, self.clock()) from error

    def _check_kind(self, response: Response) -> None:
        """Raise BadAnswer for what is no page."""
        kind = response.content_type.split(";")[0].strip().lower()
        if kind not in _HTML:
            shown = masked(self.url)
            raise BadAnswer(SOURCE, f"{shown} is {kind or 'of no type'}, not HTML. {WHAT_TO_DO}")
