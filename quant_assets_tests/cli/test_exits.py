"""Every error class of the package leads to an exit code on purpose."""

from __future__ import annotations

import importlib
import pkgutil

import dagster as dg
import pytest

import quant_assets
from quant_assets.cli.exits import BROKEN, USAGE, explain
from quant_assets.cli.in_process import _was_interrupted
from quant_assets.reference.errors import ForeseenError

FORESEEN = {
    "AddressError": USAGE,
    "AmbiguousSymbolError": USAGE,
    "AnotherMarketError": USAGE,
    "ArgumentError": USAGE,
    "BadAnswer": BROKEN,
    "BudgetSpent": BROKEN,
    "CalendarRangeError": USAGE,
    "CircuitOpen": BROKEN,
    "ClaimedElsewhereError": BROKEN,
    "ConfigError": USAGE,
    "CustomUniverseError": USAGE,
    "DecisionError": USAGE,
    "BlockedSymbolError": BROKEN,
    "FolderServedError": BROKEN,
    "ForeignListingError": USAGE,
    "FutureListError": USAGE,
    "HistoryDamagedError": BROKEN,
    "ImplausibleUniverseError": USAGE,
    "IndexUniverseError": USAGE,
    "InvalidSymbolError": USAGE,
    "InvalidSymbolsError": USAGE,
    "LiveSourceError": USAGE,
    "LoadArgumentError": USAGE,
    "MemberSinceError": USAGE,
    "MissingAtSource": BROKEN,
    "MixedMarketsError": USAGE,
    "NoListsError": USAGE,
    "NoSessionError": USAGE,
    "NoSymbolsError": USAGE,
    "NotForCustomError": USAGE,
    "NotEnabledError": USAGE,
    "NoMembershipError": BROKEN,
    "NothingNamedError": USAGE,
    "NotInSimulationError": USAGE,
    "NothingToInspectError": USAGE,
    "NoSuchListError": USAGE,
    "NothingToRefreshError": USAGE,
    "OpenSessionError": USAGE,
    "PacingError": BROKEN,
    "PacingFileError": BROKEN,
    "PublishedCopyDamagedError": BROKEN,
    "PortTakenError": BROKEN,
    "RateLimited": BROKEN,
    "Refused": BROKEN,
    "RefusedUniverseError": USAGE,
    "ReversedDaysError": USAGE,
    "SchemaVersionError": BROKEN,
    "ServicesEndedError": BROKEN,
    "SessionUnderWayError": USAGE,
    "SettingsError": USAGE,
    "SourceError": BROKEN,
    "SourceUnavailable": BROKEN,
    "SpinOffListError": USAGE,
    "StillThrottled": BROKEN,
    "SymbolListError": USAGE,
    "TooLongAPathError": USAGE,
    "TooManyChangesError": USAGE,
    "UnforeseenAnswerError": BROKEN,
    "UniverseExistsError": USAGE,
    "UniverseNameError": USAGE,
    "UnknownDatasetError": USAGE,
    "UnknownRunError": USAGE,
    "UnknownSourceError": USAGE,
    "UnknownSourceNameError": USAGE,
    "UnknownSymbolAtSource": BROKEN,
    "UnknownSymbolError": USAGE,
    "UnknownUniverseError": USAGE,
    "UnwantedAnswerError": BROKEN,
    "WarehouseBusyError": BROKEN,
    "WarehouseDamagedError": BROKEN,
    "WarehouseError": BROKEN,
    "WarehouseFullError": BROKEN,
    "WarehouseGoneError": BROKEN,
    "WarehouseLogError": BROKEN,
    "WarehouseMissingError": BROKEN,
}
"""The exit code of each error whose message the command line prints as it stands."""

NEVER_SHOWN = {"DuplicateKeyError", "NotReadable", "TaskStateError", "UnknownLevelError"}
"""A user meets none of these: two are bugs, NotReadable becomes a refusal in an inspection, and
UnknownLevelError a SettingsError."""


def error_classes() -> dict[str, type[Exception]]:
    for module in pkgutil.walk_packages(quant_assets.__path__, "quant_assets."):
        importlib.import_module(module.name)
    found, left = {}, [Exception]
    while left:
        for each in left.pop().__subclasses__():
            left.append(each)
            ours = each.__module__.split(".")[0] == "quant_assets"
            if ours and not issubclass(each, Warning):
                found[each.__name__] = each
    bases = {ForeseenError, *ForeseenError.__subclasses__()}
    return {
        name: each
        for name, each in found.items()
        if each not in bases and not issubclass(each, Warning)
    }


def test_every_error_class_is_in_one_of_the_two_tables() -> None:
    assert sorted(error_classes()) == sorted({*FORESEEN, *NEVER_SHOWN})


def test_an_error_ends_the_command_line_with_the_code_of_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    classes = error_classes()
    ends = {name: explain(classes[name].__new__(classes[name])) for name in FORESEEN}
    assert ends == FORESEEN
    assert set(capsys.readouterr().err.splitlines()) == {"Error: "}


@pytest.mark.parametrize("name", sorted(NEVER_SHOWN))
def test_an_error_that_nobody_foresaw_ends_with_3_and_names_the_way_to_its_traceback(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_classes()[name]
    assert explain(error.__new__(error)) == BROKEN
    assert "quant-assets --debug" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "stopped"),
    [(RuntimeError("Query interrupted"), True), (RuntimeError("no such table"), False)],
)
def test_a_run_that_duckdb_was_interrupted_in_was_stopped(error: Exception, stopped: bool) -> None:
    @dg.op
    def query() -> None:
        raise error

    @dg.job
    def load() -> None:
        query()

    with dg.DagsterInstance.ephemeral() as instance:
        result = load.execute_in_process(instance=instance, raise_on_error=False)
    assert any(map(_was_interrupted, result.all_events)) is stopped
