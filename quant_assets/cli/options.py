"""The options of the command line: how each is spelt, and what its help says."""

from __future__ import annotations

import datetime as dt
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quant_assets.wiring.platform import Platform


def platform_of(context: typer.Context, **flags: object) -> Platform:
    """What the settings file, the environment and the flags describe."""
    from quant_assets.journal.handlers import to_console
    from quant_assets.settings.settings import load_settings
    from quant_assets.wiring.platform import Platform

    root = context.find_root()
    flags["log_level"] = root.params["log_level"]
    given = {key: value for key, value in flags.items() if value is not None}
    settings = load_settings(os.environ, config=root.params["config"], flags=given)
    if settings.log_level != "off":
        root.with_resource(to_console(sys.stderr, settings.log_level))
    return Platform(settings)


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write one like 2024-05-31.") from None


def day_option(what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=what, parser=_day, metavar="YYYY-MM-DD")
    return option


LogLevel = Annotated[
    str | None,
    typer.Option(
        help="Show what loads say: debug, info, warning, error or off; else the settings'."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Start = Annotated[dt.date | None, day_option("First day.")]
End = Annotated[dt.date | None, day_option("Last day; the last closed session unless said.")]

Source = Annotated[
    str, typer.Option(help="yahoo, files, files:<archive> or simulated; else the settings' source.")
]
Days = Annotated[int | None, typer.Option(help="Days up to --end, in place of --start.", min=1)]
Symbols = Annotated[
    str, typer.Option(help="Tickers, separated by commas; else all the source holds.")
]
Force = Annotated[bool, typer.Option("--force", help="Ask again for what is here already.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be asked for; ask nothing.")
]
DeleteNothing = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first symbol that fails.")]
Accept = Annotated[
    bool, typer.Option("--accept", help="Take the source at its word where a symbol is held.")
]
AllowMixing = Annotated[
    bool, typer.Option("--allow-mixing", help="Let simulated and real rows share a warehouse.")
]
AsDagsterRun = Annotated[
    bool, typer.Option("--dagster", help="As a Dagster run, its symbol-days shown in the UI.")
]
ChangeNothing = Annotated[bool, typer.Option("--dry-run", help="Say what differs; change nothing.")]
