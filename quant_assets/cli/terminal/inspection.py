"""What ``files inspect`` prints: what was recognised, the settings to paste, what is left out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quant_assets.cli.terminal.console import complain, say
from quant_assets.sources.files.inspection.findings import Inspection, Proposal, Refusal

NAMED = 3
"""Files that a refusal names."""


def print_inspection(found: Inspection) -> None:
    """Findings and settings to standard output; what can't be loaded to standard error."""
    for number, proposal in enumerate(found.proposals):
        if number:
            say("")
        _print_proposal(proposal)
    for refusal in found.refusals:
        complain(f"Not loaded: {_sentence(refusal)}")
    if not found.proposals:
        complain("There is nothing here that can be loaded as it is.")


def _print_proposal(proposal: Proposal) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in proposal.findings:
        table.add_row(Text(finding.about), Text(finding.found))
    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        width = max(len(finding.about) for finding in proposal.findings)
        for finding in proposal.findings:
            say(f"{finding.about:<{width}}  {finding.found}")
    say("\nPaste this into quant_assets.toml:\n")
    print(proposal.block)
    say(f"Then load it:\n\n{proposal.command}")


def _sentence(refusal: Refusal) -> str:
    names = [path.name for path in refusal.files]
    more = len(names) - NAMED
    if len(names) == 1:
        return f"{names[0]} {refusal.reason}"
    listed = ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} files ({listed}). Each {refusal.reason}"


def as_plain(found: Inspection) -> dict[str, object]:
    """An inspection for JSON."""
    return {
        "archives": [
            {
                "name": each.name,
                "files": each.files,
                "findings": {finding.about: finding.found for finding in each.findings},
                "settings": dict(each.settings),
                "block": each.block,
                "command": each.command,
                "rows": each.trial.rows,
                "symbols": each.trial.symbols,
                "first_session": each.trial.first,
                "last_session": each.trial.last,
                "bad_rows": dict(each.trial.bad),
                "missing_sessions": dict(each.trial.holes),
            }
            for each in found.proposals
        ],
        "not_loaded": [
            {"files": list(map(_plain, refusal.files)), "reason": refusal.reason}
            for refusal in found.refusals
        ],
    }


def _plain(path: Path) -> str:
    return str(path)
