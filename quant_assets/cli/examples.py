"""An example of each command, for ``--help`` and docs/commands.md; a test types them all."""

from __future__ import annotations

from collections.abc import Mapping

import typer

EXAMPLES: Mapping[str, str] = {
    "demo": "demo",
    "backfill": "backfill --source simulated --symbols XDADA --start 2026-05-01 --end 2026-05-29",
    "prices": "prices XDADA --start 2026-06-01 --end 2026-06-30 --adjust total_return",
    "market": "market --top 5",
    "refresh": "refresh --source simulated --dry-run",
    "resume": "resume --retry-failed",
    "quickstart": "quickstart AAPL MSFT",
    "runs": "runs",
    "sources check": "sources check",
    "status": "status",
    "ui": "ui --port 3001",
    "reconcile": "reconcile --dry-run",
    "prune": "prune --days 90 --dry-run",
    "config show": "config show",
    "config dictionary": "config dictionary",
    "universe show": "universe show sp500 --on 2026-06-30",
    "universe list": "universe list",
    "universe changes": "universe changes sp500 --since 2026-01-01",
    "universe conflicts": "universe conflicts sp500",
    "universe create": "universe create mine XDADA XDADE --since 2026-01-02",
    "universe add": "universe add mine XDADI",
    "universe remove": "universe remove mine XDADE",
    "universe import": "universe import --from constituents.csv --on 2026-06-30",
    "universe take-back": "universe take-back --on 2026-06-30",
    "files inspect": "files inspect archive",
}


def give_examples(app: typer.Typer, above: str = "") -> None:
    """Put its example below the help of each command of ``app`` and of the groups in it."""
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        command.epilog = f"Example: quant-assets {EXAMPLES[f'{above}{name}']}"
    for group in app.registered_groups:
        if group.typer_instance:
            give_examples(group.typer_instance, f"{above}{group.name} " if group.name else above)
