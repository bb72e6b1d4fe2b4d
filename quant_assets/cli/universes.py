"""Commands about universes: the members of an index, and sets of securities of one's own.

Part of the command line in ``app``: words in, plain objects called.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from quant_assets.cli import options
from quant_assets.cli.exits import ATTENTION, DONE
from quant_assets.cli.loads import workplace
from quant_assets.cli.terminal.console import show_json

if TYPE_CHECKING:
    from quant_assets.cli.terminal.tables import Form
    from quant_assets.membership.custom import CustomChange

DEFAULT = "sp500"

universe_app = typer.Typer(
    help="The members of an index on any day, and universes of your own.", no_args_is_help=True
)

Named = Annotated[str, typer.Argument(help="Name of the universe.")]
OneOrAll = Annotated[str, typer.Argument(help="Name of the universe; by default all.")]
Members = Annotated[
    list[str] | None, typer.Argument(help="Tickers such as AAPL MSFT or AAPL,MSFT, or ids.")
]
Lists = Annotated[
    list[str] | None,
    typer.Option("--from", help="CSV or JSON of symbols: a file, a URL, or - for standard input."),
]
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", help="Leave out texts that can't be a symbol.")
]
Since = Annotated[
    dt.date | None, options.day_option("Members from that day on; by default from today on.")
]
OfSymbol = Annotated[
    str | None, typer.Option(help="Only securities that ever went by this ticker.")
]


@universe_app.command("show")
def show(
    context: typer.Context,
    *,
    universe: Annotated[
        str, typer.Argument(metavar="[NAME]", help=f"Name of the universe; by default {DEFAULT}.")
    ] = "",
    on: Annotated[
        dt.date | None, options.day_option("Day of the membership; by default today.")
    ] = None,
    name: Annotated[str, typer.Option(help="The same as NAME.")] = "",
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """The members on a day, the source of the list, and how many members have prices here."""
    from quant_assets import read
    from quant_assets.cli.terminal.tables import print_frame
    from quant_assets.cli.terminal.universes import complain_of_unknown_days, print_members

    if universe and name and universe != name:
        raise typer.BadParameter(f"{universe} and --name {name} are two universes; give one.")
    platform = options.platform_of(context)
    frame = read.universe(
        universe or name or DEFAULT, on=on, settings=platform.settings, clock=platform.clock
    )
    if csv or as_json:
        print_frame(frame, options.form_of(csv, as_json))
    else:
        print_members(frame)
    complain_of_unknown_days(frame.attrs)
    raise typer.Exit(ATTENTION if frame.empty else DONE)


@universe_app.command("list")
def list_universes(
    context: typer.Context, *, csv: options.Csv = False, as_json: options.Json = False
) -> None:
    """Every universe: its kind, its size, its source, when it was updated."""
    from quant_assets import read
    from quant_assets.cli.terminal.universes import print_universes

    frame = read.universes(settings=options.platform_of(context).settings)
    print_universes(frame, options.form_of(csv, as_json))


@universe_app.command("changes")
def changes(
    context: typer.Context,
    *,
    name: OneOrAll = "",
    since: Annotated[
        dt.date | None, options.day_option("Only changes that took effect on that day or later.")
    ] = None,
    symbol: OfSymbol = None,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Members that joined, left or were renamed, when that was noticed, and why."""
    from quant_assets import read
    from quant_assets.cli.terminal.universes import print_changes

    frame = read.universe_changes(
        name or None,
        since=since,
        symbol=symbol,
        settings=options.platform_of(context).settings,
    )
    print_changes(frame, options.form_of(csv, as_json))


@universe_app.command("conflicts")
def conflicts(
    context: typer.Context,
    *,
    name: OneOrAll = "",
    symbol: OfSymbol = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only disagreements that are still open.")
    ] = False,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Where sources disagree about a membership, and which source is followed."""
    from quant_assets import read
    from quant_assets.cli.terminal.universes import print_conflicts

    frame = read.universe_conflicts(
        name or None,
        symbol=symbol,
        open_only=only_open,
        settings=options.platform_of(context).settings,
    )
    print_conflicts(frame, options.form_of(csv, as_json))


@universe_app.command("create")
def create(
    context: typer.Context,
    *,
    name: Named,
    symbols: Members = None,
    lists: Lists = None,
    since: Since = None,
    skip_invalid: SkipInvalid = False,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Make a universe of your own, with its first members if you name some."""
    from quant_assets.operations.universes import universe_create

    form = options.form_of(csv, as_json)
    change = partial(universe_create, since=since)
    _change(context, change, name, symbols, lists, skip_invalid=skip_invalid, form=form)


@universe_app.command("add")
def add(
    context: typer.Context,
    *,
    name: Named,
    symbols: Members = None,
    lists: Lists = None,
    since: Since = None,
    skip_invalid: SkipInvalid = False,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Make symbols members of a universe of your own, from today on or --since a day."""
    from quant_assets.operations.universes import universe_add

    form = options.form_of(csv, as_json)
    change = partial(universe_add, since=since)
    _change(context, change, name, symbols, lists, skip_invalid=skip_invalid, form=form)


@universe_app.command("remove")
def remove(
    context: typer.Context,
    *,
    name: Named,
    symbols: Members = None,
    lists: Lists = None,
    skip_invalid: SkipInvalid = False,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """End memberships of a universe of your own today; its past stays on record."""
    from quant_assets.operations.universes import universe_remove

    form = options.form_of(csv, as_json)
    _change(context, universe_remove, name, symbols, lists, skip_invalid=skip_invalid, form=form)


@universe_app.command("import")
def import_lists(
    context: typer.Context,
    *,
    lists: Annotated[
        list[str] | None,
        typer.Option(
            *("--from", "--history"), help="File or URL: constituents or intervals; repeatable."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Universe to import into.")] = DEFAULT,
    on: Annotated[dt.date | None, options.day_option("Day of the list; by default today.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept the list, whatever its size and changes.")
    ] = False,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Import members and membership history; without --from, from the sources of the settings.

    Into a universe of your own, a list adds its symbols.
    """
    from quant_assets.cli.terminal.universes import print_import, print_import_rows
    from quant_assets.contracts.membership import Remark
    from quant_assets.membership.custom import CustomChange
    from quant_assets.operations.universes import universe_import

    work = workplace(options.platform_of(context))
    report = universe_import(name, lists or (), on=on, accept=accept, within=work)
    if isinstance(report, CustomChange):
        _end(report, options.form_of(csv, as_json))
    if as_json:
        show_json({**vars(report), "intervals": len(report.intervals)})
    elif csv:
        print_import_rows(report)
    else:
        print_import(report)
    asked = [notice for notice in report.notices if not isinstance(notice, Remark)]
    raise typer.Exit(ATTENTION if asked or report.passed_over else DONE)


@universe_app.command("take-back")
def take_back_list(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Name of the universe.")] = DEFAULT,
    on: Annotated[dt.date, options.day_option("Day of the list, or of the history's import.")],
    source: Annotated[
        str | None, typer.Option(help="Its source, where several have that day.")
    ] = None,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Undo one accepted list or history, such as one of a wrong day; decide the members anew."""
    from quant_assets.cli.terminal.universes import print_import, print_import_rows
    from quant_assets.operations.universes import universe_take_back

    work = workplace(options.platform_of(context))
    report = universe_take_back(name, on, source=source, within=work)
    if as_json:
        show_json({**vars(report), "intervals": len(report.intervals)})
    elif csv:
        print_import_rows(report)
    else:
        print_import(report)


def _change(
    context: typer.Context,
    change: Callable[..., CustomChange],
    name: str,
    words: Sequence[str] | None,
    lists: Sequence[str] | None,
    *,
    form: Form,
    skip_invalid: bool,
) -> NoReturn:
    """Change a universe of the user's own and print the change; ends the command."""
    symbols = [part.strip() for word in words or () for part in word.split(",") if part.strip()]
    work = workplace(options.platform_of(context))
    _end(change(name, symbols, lists=lists or (), skip_invalid=skip_invalid, within=work), form)


def _end(changed: CustomChange, form: Form) -> NoReturn:
    from quant_assets.cli.terminal.universes import print_changed

    print_changed(changed, form)
    raise typer.Exit(ATTENTION if changed.symbols("invalid") else DONE)
