"""Commands about archives of files: what is in one, and the settings that load it.

Part of the command line in ``app``: words in, plain objects called.
"""

from __future__ import annotations

from typing import Annotated

import typer

from quant_assets.cli import options
from quant_assets.cli.exits import ATTENTION, DONE
from quant_assets.cli.terminal.console import show_json, working

files_app = typer.Typer(help="Archives of CSV and Parquet files.", no_args_is_help=True)


@files_app.callback()
def files() -> None:
    """Archives of CSV and Parquet files."""


@files_app.command("inspect")
def inspect_files(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="A file, a folder, or a glob in quotes.")],
    name: Annotated[
        str, typer.Option(help="Name of the archive in the settings; by default the vendor's.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Say what an archive of prices holds, and print the settings that load it; store nothing."""
    from quant_assets.cli.terminal.inspection import as_plain, print_inspection
    from quant_assets.sources.files.inspection.inspect import inspect

    if name and not name.replace("_", "").replace("-", "").isalnum():
        raise typer.BadParameter(f"--name {name}: letters, digits, - and _ only.")
    platform = options.platform_of(context)
    with working(f"inspecting {path}"):
        found = inspect(
            path,
            platform.calendar,
            platform.clock(),
            name=name,
            taken=tuple(platform.settings.files) if not name else (),
        )
    if as_json:
        show_json(as_plain(found))
    else:
        print_inspection(found)
    raise typer.Exit(DONE if found.proposals else ATTENTION)
