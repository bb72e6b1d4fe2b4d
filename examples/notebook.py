# %% [markdown]
# Load, watch and read from Python, cell by cell. A simulated market, so that no network is needed:
# leave `source="simulated"` out to load real prices, into a folder of their own.

# %%
import warnings

from quant_assets import MissingDataWarning, backfill, prices, refresh, universe, universe_create

HOME = "data/notebook"


def show(done: int, total: int, what: str) -> None:
    print(f"{done} of {total} symbols; {what}")


# %% Load 90 days of every symbol. Interrupt the cell whenever you like: what was stored stays, and
# the same cell goes on from there.
[report] = backfill(source="simulated", days=90, on_progress=show, home=HOME)
print(report.total("inserted"), "rows,", "look at it" if report.needs_attention else "all well")

# %% Once more: nothing is due, so nothing is requested.
[again] = refresh(home=HOME)
print(again.up_to_date, "symbols have everything")

# %% A universe of your own, from today on.
start, end = report.window.start, report.window.end
symbols = [row.symbol for row in report.symbols if row.last_session == end][:5]
universe_create("mine", symbols, home=HOME)
members = universe("mine", home=HOME)

# %% Prices of its members. A frame that lacks something warns and says what in `attrs`.
close = prices(
    members.symbol, start, end, fields=["close"], adjust="total_return", shape="wide", home=HOME
)
print(close.attrs.get("missing", "nothing is missing"))

# %% In a backtest, let that be an error.
with warnings.catch_warnings():
    warnings.simplefilter("error", MissingDataWarning)
    close = prices(members.symbol, end, end, fields=["close"], shape="wide", home=HOME)
