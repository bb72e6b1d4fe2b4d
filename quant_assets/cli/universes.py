"""Commands about universes: who belongs to an index, and sets of securities of one's own.

Part of the command line in ``cli``: words in, plain objects called.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from quant_assets import read
from quant_assets.cli import options
from quant_assets.cli.exits import ATTENTION, DONE, USAGE
from quant_assets.cli.terminal.console import complain, show_json
from quant_assets.cli.terminal.tables import print_frame
from quant_assets.cli.terminal.universes import (
    Form,
    complain_of_unknown_days,
    print_changed,
    print_changes,
    print_conflicts,
    print_import,
    print_import_rows,
    print_members,
    print_universes,
)
from quant_assets.contracts.source import BadAnswer
from quant_assets.fetching.http import fetch, is_address, read_path
from quant_assets.membership.custom import (
    CustomChange,
    add_members,
    create_universe,
    is_custom,
    remove_members,
)
from quant_assets.membership.custom_errors import CustomUniverseError, SymbolListError
from quant_assets.reference.identity import known_identities
from quant_assets.refreshing.membership import refresh_membership
from quant_assets.settings.secrets import masked_addresses
from quant_assets.sources.index_members.lists import MembershipLists, read_symbols
from quant_assets.warehouse.published_copy import publish
from quant_assets.wiring.platform import Platform

DEFAULT = "sp500"

universe_app = typer.Typer(
    help="Who belongs to an index, and when; and universes of your own.", no_args_is_help=True
)

Named = Annotated[str, typer.Argument(help="Name of the universe.")]
OneOrAll = Annotated[str, typer.Argument(help="Name of the universe; all unless said.")]
Members = Annotated[
    list[str] | None, typer.Argument(help="Tickers such as AAPL MSFT or AAPL,MSFT, or ids.")
]
Lists = Annotated[
    list[str] | None,
    typer.Option("--from", help="CSV or JSON of symbols: a file, a URL, or - for standard input."),
]
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", help="Leave out what can't be a symbol.")
]
OfSymbol = Annotated[
    str | None, typer.Option(help="Only securities that ever went by this ticker.")
]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]


def _form(*, csv: bool, as_json: bool) -> Form:
    return "csv" if csv else "json" if as_json else "table"


@universe_app.command("show")
def show(
    context: typer.Context,
    *,
    universe: Annotated[
        str, typer.Argument(metavar="[NAME]", help=f"Name of the universe; {DEFAULT} unless said.")
    ] = "",
    on: Annotated[
        dt.date | None, options.day_option("Day of the membership; today unless said.")
    ] = None,
    name: Annotated[str, typer.Option(help="The same as NAME.")] = "",
    csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """The members on a day, where that is known from, and how many have prices here."""
    if universe and name and universe != name:
        raise typer.BadParameter(f"{universe} and --name {name} are two universes; give one.")
    settings = options.platform_of(context).settings
    frame = read.universe(universe or name or DEFAULT, on=on, settings=settings)
    if csv or as_json:
        print_frame(frame, _form(csv=csv, as_json=as_json))
    else:
        print_members(frame)
    complain_of_unknown_days(frame.attrs)
    raise typer.Exit(ATTENTION if frame.empty else DONE)


@universe_app.command("list")
def list_universes(
    context: typer.Context, *, csv: Csv = False, as_json: options.Json = False
) -> None:
    """Every universe: its kind, its size, its source, when it was updated."""
    frame = read.universes(settings=options.platform_of(context).settings)
    print_universes(frame, _form(csv=csv, as_json=as_json))


@universe_app.command("changes")
def changes(
    context: typer.Context,
    *,
    name: OneOrAll = "",
    since: Annotated[
        dt.date | None, options.day_option("Only what took effect on that day or later.")
    ] = None,
    symbol: OfSymbol = None,
    csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """What changed: who joined, left or was renamed, when that was noticed, and why."""
    frame = read.universe_changes(
        name or None,
        since=since,
        symbol=symbol,
        settings=options.platform_of(context).settings,
    )
    print_changes(frame, _form(csv=csv, as_json=as_json))


@universe_app.command("conflicts")
def conflicts(
    context: typer.Context,
    *,
    name: OneOrAll = "",
    symbol: OfSymbol = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only what sources disagree about still.")
    ] = False,
    csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """Where sources disagree about a membership, and whom we followed."""
    frame = read.universe_conflicts(
        name or None,
        symbol=symbol,
        open_only=only_open,
        settings=options.platform_of(context).settings,
    )
    print_conflicts(frame, _form(csv=csv, as_json=as_json))


@universe_app.command("create")
def create(
    context: typer.Context,
    *,
    name: Named,
    symbols: Members = None,
    lists: Lists = None,
    skip_invalid: SkipInvalid = False,
    csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """Make a universe of your own, with its first members if you name some."""
    platform = options.platform_of(context)

    def change() -> CustomChange:
        return create_universe(
            platform.warehouse,
            name,
            _symbols(symbols, lists),
            known_identities(),
            skip_invalid=skip_invalid,
        )

    _carry_out(platform, change, _form(csv=csv, as_json=as_json))


@universe_app.command("add")
def add(
    context: typer.Context,
    *,
    name: Named,
    symbols: Members = None,
    lists: Lists = None,
    skip_invalid: SkipInvalid = False,
    csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """Make symbols members of a universe of your own, from today on."""
    platform = options.platform_of(context)

    def change() -> CustomChange:
        return add_members(
            platform.warehouse,
            name,
            _some(symbols, lists),
            known_identities(),
            skip_invalid=skip_invalid,
        )

    _carry_out(platform, change, _form(csv=csv, as_json=as_json))


@universe_app.command("remove")
def remove(
    context: typer.Context,
    *,
    name: Named,
    symbols: Members = None,
    lists: Lists = None,
    skip_invalid: SkipInvalid = False,
    csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """End memberships of a universe of your own today; its past stays on record."""
    platform = options.platform_of(context)

    def change() -> CustomChange:
        wanted = _some(symbols, lists)
        return remove_members(platform.warehouse, name, wanted, skip_invalid=skip_invalid)

    _carry_out(platform, change, _form(csv=csv, as_json=as_json))


@universe_app.command("import")
def import_lists(
    context: typer.Context,
    *,
    lists: Annotated[
        list[str] | None,
        typer.Option("--from", help="File or URL: constituents or intervals; repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="Universe to import into.")] = DEFAULT,
    on: Annotated[dt.date | None, options.day_option("Day of the list; today unless said.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Believe the list, whatever its size and changes.")
    ] = False,
    csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """Import members and membership history; without --from, from the settings' sources.

    Into a universe of your own, a list adds its symbols.
    """
    platform = options.platform_of(context)
    if is_custom(platform.warehouse, name):
        if on or accept:
            raise typer.BadParameter(f"{name} is a universe of your own: no --on and no --accept.")
        add(context, name=name, lists=lists, csv=csv, as_json=as_json)
        return
    source = MembershipLists(tuple(lists)) if lists else None
    report = refresh_membership(platform, name, source, on=on, accept=accept)
    publish(platform.warehouse)
    if as_json:
        show_json({**vars(report), "intervals": len(report.intervals)})
    elif csv:
        print_import_rows(report)
    else:
        print_import(report)
    raise typer.Exit(ATTENTION if report.notices or report.passed_over else DONE)


def _carry_out(platform: Platform, change: Callable[[], CustomChange], form: Form) -> NoReturn:
    """Change a universe, publish it and say what was done; ends the command."""
    try:
        changed = change()
    except CustomUniverseError as error:
        complain(f"Error: {error}")
        raise typer.Exit(USAGE) from error
    publish(platform.warehouse)
    print_changed(changed, form)
    raise typer.Exit(ATTENTION if changed.symbols("invalid") else DONE)


def _some(words: Sequence[str] | None, lists: Sequence[str] | None) -> list[str]:
    """``_symbols``, of which there must be any."""
    if not (words or lists):
        raise typer.BadParameter("No symbol was named. Give some, or a list with --from FILE.")
    return _symbols(words, lists)


def _symbols(words: Sequence[str] | None, lists: Sequence[str] | None) -> list[str]:
    """The symbols said on the command line, commas or not, and those of the lists."""
    said = [part.strip() for word in words or () for part in word.split(",") if part.strip()]
    for location in lists or ():
        said += _listed(location)
    return said


def _listed(location: str) -> tuple[str, ...]:
    """The symbols of a list. Raises SymbolListError and SourceError."""
    if location == "-":
        body, shown = sys.stdin.read().encode(), "standard input"
    elif is_address(location):
        body, shown = fetch(location, "list", headers={}).body, masked_addresses(location)
    else:
        body, shown = read_path(location, "list"), masked_addresses(location)
    try:
        return read_symbols(body, shown)
    except BadAnswer as error:
        raise SymbolListError(str(error)) from error
