"""The options of the command line: their spelling and their help texts."""

from __future__ import annotations

import datetime as dt
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quant_assets.cli.terminal.tables import Form
    from quant_assets.wiring.platform import Platform


def platform_of(context: typer.Context, **flags: object) -> Platform:
    """The platform that the settings file, the environment and the flags describe.

    Raises SettingsError. Where the settings ask for it, the load log goes to standard error until
    the command ends.
    """
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


def form_of(csv: bool, as_json: bool) -> Form:
    """The form of output that ``Csv`` and ``Json`` choose."""
    return "csv" if csv else "json" if as_json else "table"


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
        help="Show the log of loads: debug, info, warning, error, off; else as in the settings."
    ),
]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Start = Annotated[dt.date | None, day_option("First day.")]
End = Annotated[dt.date | None, day_option("Last day; by default the last closed session.")]

Source = Annotated[
    str,
    typer.Option(
        help="yahoo, files, files:<archive> or simulated, of the market nasdaq or nasdaqtrader; by "
        "default as in the settings."
    ),
]
Days = Annotated[int | None, typer.Option(help="Days up to --end, in place of --start.", min=1)]
Symbols = Annotated[
    str, typer.Option(help="Tickers, separated by commas; by default all of the source.")
]
Force = Annotated[bool, typer.Option("--force", help="Request again what is stored already.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be requested; request nothing.")
]
DeleteNothing = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be deleted; delete nothing.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first symbol that fails.")]
Accept = Annotated[
    bool,
    typer.Option("--accept", help="Store answers even where they contradict stored rows."),
]
AllowMixing = Annotated[
    bool, typer.Option("--allow-mixing", help="Let simulated and real rows share a warehouse.")
]
AsDagsterRun = Annotated[
    bool, typer.Option("--dagster", help="Load in a Dagster run that the UI shows.")
]
ChangeNothing = Annotated[
    bool, typer.Option("--dry-run", help="Print what differs; change nothing.")
]
