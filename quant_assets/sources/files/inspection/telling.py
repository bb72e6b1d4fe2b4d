"""What was recognised, in words."""

from __future__ import annotations

from quant_assets.reference.calendars import FIRST_DAY
from quant_assets.sources.files.cells import spelled
from quant_assets.sources.files.inspection.basis import PriceBasis
from quant_assets.sources.files.inspection.findings import Finding, Trial
from quant_assets.sources.files.inspection.layout import Layout
from quant_assets.sources.files.inspection.marks import WORDS
from quant_assets.sources.files.inspection.opening import DELIMITERS
from quant_assets.sources.files.inspection.symbols import written_symbols
from quant_assets.sources.files.reading import bare_name

_LINES = {"field": "the names of fields", "symbol": "symbols", "skip": "nothing that is needed"}


def findings(
    layout: Layout, basis: PriceBasis, trial: Trial, count: int, others: int
) -> tuple[Finding, ...]:
    """Every finding about an archive, in the order of a reader's questions."""
    found = [
        Finding("layout", layout.vendor.title),
        Finding("files", _files(layout, count)),
        Finding("symbols", _symbols(layout)),
        Finding("dates", layout.sessions.words),
        Finding("numbers", _numbers(layout)),
        Finding("prices", _prices(layout, basis)),
        Finding("events", _events(layout, basis)),
        Finding("not used", _unused(layout, basis)),
        Finding("currency", _currency(layout)),
        Finding("rows", _rows(trial, count)),
        Finding("too old", _early(trial)),
        Finding("bad rows", _bad(trial)),
        Finding("holes", _holes(trial)),
        Finding("paths", _others(others)),
    ]
    return tuple(each for each in found if each.found)


def _files(layout: Layout, count: int) -> str:
    first = layout.first
    number = f"{count:,} files" if count > 1 else "one file"
    if first.parquet:
        return f"{number}, Parquet"
    text = f"{number}, CSV with a {DELIMITERS[first.delimiter]} between fields"
    if len(first.header) > 1:
        lines = ", ".join(_LINES[kind] for kind in first.header)
        text += f"; a header of {len(first.header)} lines: {lines}"
    return text


def _symbols(layout: Layout) -> str:
    symbols, first = layout.symbols, layout.first
    written = next(iter(written_symbols(first, symbols)), "")
    us = " The suffix .US stands for the United States." if _is_us(written) else ""
    if symbols.in_header:
        return f"in the header: {', '.join(first.symbols[:5])}.{us}"
    if symbols.column:
        tape = ", spelt as on the tape (BACpL is BAC.PRL)" if symbols.spelling == "tape" else ""
        return f"in the column {symbols.column}, such as {written}{tape}.{us}"
    name = first.path.name
    cut = f", which has it in place of the * in {symbols.pattern}" if symbols.pattern != "*" else ""
    return f"in the name of each file{cut}: {name} is {_ours(bare_name(first.path), layout)}.{us}"


def _is_us(written: str) -> bool:
    return written.upper().endswith(".US")


def _ours(name: str, layout: Layout) -> str:
    return spelled(name, layout.symbols.forms) or name


def _numbers(layout: Layout) -> str:
    decimal, ignored = layout.marks
    if layout.first.parquet and (decimal, ignored) == (".", ""):
        return ""
    text = f"a {'comma' if decimal == ',' else 'point'} before decimals"
    marks = [WORDS[mark] for mark in ignored if mark in WORDS]
    signs = [mark for mark in ignored if mark not in WORDS]
    text += f", {' and '.join(marks)} between thousands" if marks else ", no mark between thousands"
    return text + (f"; the sign {' '.join(signs)} is ignored" if signs else "")


def _prices(layout: Layout, basis: PriceBasis) -> str:
    what = {
        "as_traded": "as traded",
        "split_adjusted": "adjusted for splits",
    }[basis.basis]
    if not basis.sure:
        return (
            f"as traded or adjusted for splits: the columns can't tell. The block says "
            f"{basis.basis}, because {basis.because}."
        )
    text = f"{what}: {basis.because}."
    if basis.basis == "split_adjusted":
        text += (
            " basis_on is the last session in the files; if you downloaded them later, and a "
            "company split its shares in between, set the day of the download."
        )
    return text


def _events(layout: Layout, basis: PriceBasis) -> str:
    columns = layout.columns
    named = [columns[name] for name in ("split", "dividend") if name in basis.uses]
    if named:
        return f"splits and dividends are in {' and '.join(named)}"
    if "adjusted_close" in basis.uses:
        what = "splits and dividends" if basis.basis == "as_traded" else "dividends"
        return f"{what} are read off the steps of {columns['adjusted_close']}"
    if basis.basis == "as_traded":
        return (
            "no column has splits or dividends. Adjusted prices need them from another source, or "
            "from a file of your own: actions, in docs/sources.md"
        )
    return "no dividends are taken from these files"


def _unused(layout: Layout, basis: PriceBasis) -> str:
    used = {layout.columns[name] for name in layout.columns}
    optional = {"split", "dividend", "adjusted_close"} - set(basis.uses)
    used -= {layout.columns[name] for name in optional if name in layout.columns}
    used.add(layout.symbols.column)
    left = [name for name in layout.first.columns if name and name not in used]
    return f"the columns {', '.join(left)}" if left else ""


def _currency(layout: Layout) -> str:
    return "" if layout.currency == "USD" else f"{layout.currency}, as a column says"


def _rows(trial: Trial, count: int) -> str:
    number = f"{len(trial.symbols):,} symbols" if len(trial.symbols) > 1 else trial.symbols[0]
    rows = f"{trial.rows:,} rows" if trial.rows > 1 else "one row"
    text = f"{rows} of {number}, {trial.first} to {trial.last}, can be stored"
    if trial.files < count:
        text += f" ({trial.files:,} of the {count:,} files were read for this)"
    return text


def _early(trial: Trial) -> str:
    if not trial.early:
        return ""
    rows = "one row is" if trial.early == 1 else f"{trial.early:,} rows are"
    return f"{rows} older than {FIRST_DAY}, where the known sessions begin"


def _others(others: int) -> str:
    """Files that the paths name and that are refused."""
    if not others:
        return ""
    which = "one more file" if others == 1 else f"{others:,} more files"
    return (
        f"they name {which}, of which nothing can be loaded (below). A load names them and ends "
        "with 1; move them out of the folder to avoid it"
    )


def _bad(trial: Trial) -> str:
    if not trial.bad:
        return ""
    listed = sorted(trial.bad.items(), key=lambda item: -item[1])[:4]
    reasons = "; ".join(f"{number:,}: {reason}" for reason, number in listed)
    number = sum(trial.bad.values())
    return f"{number:,} rows go to quarantine, and a load then ends with 1 ({reasons})"


def _holes(trial: Trial) -> str:
    if not trial.holes:
        return ""
    symbol, number = next(iter(trial.holes.items()))
    return (
        f"{sum(trial.holes.values()):,} sessions are missing between the rows of a symbol "
        f"({number:,} of {symbol}); a load of these days reports them as failed and ends with 1"
    )
