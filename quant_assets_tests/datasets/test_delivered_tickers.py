"""Archives that use the ticker of the day: companies that die, are renamed or hand on a ticker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.loads import load_prices

Bar = tuple[str, str, float]
Row = tuple[object, ...]

# Each delivery has its own session and the one before.
HANDED_ON: Mapping[str, Sequence[Bar]] = {
    "2024-02-29": [
        ("DOC", "2024-02-28", 11.1), ("DOC", "2024-02-29", 11.2),
        ("PEAK", "2024-02-28", 16.9), ("PEAK", "2024-02-29", 16.75),
    ],
    "2024-03-01": [("PEAK", "2024-02-29", 16.75), ("PEAK", "2024-03-01", 16.6)],
    "2024-03-04": [
        ("DOC", "2024-02-29", 16.75), ("DOC", "2024-03-01", 16.62), ("DOC", "2024-03-04", 17.3),
    ],
}  # fmt: skip
"""Physicians Realty left as DOC, and Healthpeak took the ticker; one close is corrected."""


class Archive:
    def __init__(self, warehouse: Warehouse, calendar: Calendar, folder: Path) -> None:
        self.warehouse, self.calendar, self.folder = warehouse, calendar, folder

    def deliver(self, deliveries: Mapping[str, Sequence[Bar]]) -> None:
        for day, bars in deliveries.items():
            (self.folder / day).mkdir()
            lines = [f"{symbol},{at},{p},{p},{p},{p},100" for symbol, at, p in bars]
            text = "\n".join(["symbol,date,open,high,low,close,volume", *lines, ""])
            (self.folder / day / "prices.csv").write_text(text)

    def load(self, **declared: object) -> LoadReport:
        files = str(self.folder / "*" / "prices.csv")
        archive = FilesArchive.model_validate(
            {"paths": [files], "price_basis": "as_traded", **declared}
        )
        source = FilesSource("ours", archive, (files,), self.calendar)
        [(first, last)] = {source._span}
        window = Window(source.symbols(), first, last)
        report = load_prices(self.warehouse, source, window, self.calendar)
        again = load_prices(self.warehouse, source, window, self.calendar)
        assert again.symbols == ()
        return report

    def query(self, sql: str) -> list[Row]:
        with self.warehouse.reading() as con:
            return con.execute(sql).fetchall()

    def stored(self) -> list[Row]:
        return self.query(
            "select coalesce(s.slug, 'unknown'), p.session::varchar, p.close"
            " from daily_prices p join securities s using (security_id) order by all"
        )

    def quarantined(self) -> list[Row]:
        return self.query("select symbol, session, reason from quarantine order by all")


@pytest.fixture
def archive(warehouse: Warehouse, calendar: Calendar, tmp_path: Path) -> Archive:
    folder = tmp_path / "deliveries"
    folder.mkdir()
    return Archive(warehouse, calendar, folder)


def test_companies_that_die_inside_an_archive_of_deliveries_keep_their_rows(
    archive: Archive,
) -> None:
    archive.deliver(
        {
            "2015-08-28": [("PLL", "2015-08-27", 127.15), ("PLL", "2015-08-28", 127.18)],
            "2015-09-01": [("ABT", "2015-08-31", 45.29), ("ABT", "2015-09-01", 44.04)],
        }
    )
    report = archive.load(deliveries=True)
    assert (report.total("inserted"), report.total("quarantined")) == (4, 0)
    assert archive.stored() == [
        ("pall", "2015-08-27", 127.15),
        ("pall", "2015-08-28", 127.18),
        ("unknown", "2015-08-31", 45.29),
        ("unknown", "2015-09-01", 44.04),
    ]


def test_a_company_renamed_inside_an_archive_of_deliveries_has_one_history(
    archive: Archive,
) -> None:
    archive.deliver(
        {
            "2022-06-08": [("FB", "2022-06-07", 195.65), ("FB", "2022-06-08", 196.6)],
            "2022-06-09": [("META", "2022-06-08", 196.64), ("META", "2022-06-09", 184.0)],
        }
    )
    report = archive.load(deliveries=True)
    assert (report.total("quarantined"), report.total("failed")) == (0, 0)
    # The later delivery corrects the earlier one, under whatever ticker.
    assert archive.stored() == [
        ("meta_platforms", "2022-06-07", 195.65),
        ("meta_platforms", "2022-06-08", 196.64),
        ("meta_platforms", "2022-06-09", 184.0),
    ]
    assert archive.query("select count(*) from symbol_day_ledger") == [(0,)]


def test_a_ticker_handed_on_inside_an_archive_of_deliveries_is_two_histories(
    archive: Archive,
) -> None:
    archive.deliver(HANDED_ON)
    archive.load(deliveries=True)
    assert archive.stored() == [
        ("healthpeak_properties", "2024-02-28", 16.9),
        ("healthpeak_properties", "2024-02-29", 16.75),
        ("healthpeak_properties", "2024-03-01", 16.62),
        ("healthpeak_properties", "2024-03-04", 17.3),
        ("physicians_realty_trust", "2024-02-28", 11.1),
        ("physicians_realty_trust", "2024-02-29", 11.2),
    ]
    assert archive.quarantined() == []


def test_deliveries_loaded_one_by_one_give_the_same_as_all_at_once(archive: Archive) -> None:
    for day, bars in HANDED_ON.items():
        archive.deliver({day: bars})
        archive.load(deliveries=True)
    assert archive.stored() == [
        ("healthpeak_properties", "2024-02-28", 16.9),
        ("healthpeak_properties", "2024-02-29", 16.75),
        ("healthpeak_properties", "2024-03-01", 16.62),
        ("healthpeak_properties", "2024-03-04", 17.3),
        ("physicians_realty_trust", "2024-02-28", 11.1),
        ("physicians_realty_trust", "2024-02-29", 11.2),
    ]


def test_rows_of_a_newcomer_before_it_had_any_ticker_are_set_aside(archive: Archive) -> None:
    # Fox Corporation began as FOXA when Twenty-First Century Fox gave the ticker up.
    archive.deliver(
        {
            "2019-03-18": [("FOXA", "2019-03-18", 51.4)],
            "2019-03-19": [("FOXA", "2019-03-18", 40.0), ("FOXA", "2019-03-19", 41.0)],
        }
    )
    archive.load(deliveries=True)
    assert archive.stored() == [
        ("fox_21cf_class_a", "2019-03-18", 51.4),
        ("fox_corp_class_a", "2019-03-19", 41.0),
    ]
    why = "FOXA was another company's then than on 2019-03-19"
    assert archive.quarantined() == [("FOXA", "2019-03-18", why)]


def test_deliveries_that_use_the_tickers_of_one_day_are_read_by_that_day(archive: Archive) -> None:
    archive.deliver({day: [b for b in bars if b[0] == "DOC"] for day, bars in HANDED_ON.items()})
    archive.load(deliveries=True, symbols_on="2024-03-04")
    companies = archive.query(
        "select distinct s.slug from daily_prices join securities s using (security_id)"
    )
    assert companies == [("healthpeak_properties",)]


def test_an_archive_with_the_ticker_of_each_session_tells_companies_apart(
    archive: Archive,
) -> None:
    days = [("2016-01-14", 129.0, 112.0), ("2016-01-15", 110.9, None)]
    bars = [("CB", day, cb) for day, cb, _ in days] + [("ACE", "2016-01-14", 112.0)]
    archive.deliver({"all": bars})
    archive.load(symbols_on="session")
    assert archive.stored() == [
        ("chubb_corp", "2016-01-14", 129.0),
        ("chubb_ltd", "2016-01-14", 112.0),
        ("chubb_ltd", "2016-01-15", 110.9),
    ]


def test_another_company_under_the_ticker_of_a_dead_one_is_a_security_of_its_own(
    archive: Archive,
) -> None:
    # ACE Ltd took the ticker CB in 2016; nothing is known here of a later ACE.
    archive.deliver(
        {
            "2016-01-14": [("ACE", "2016-01-14", 112.0)],
            "2016-06-01": [("ACE", "2016-06-01", 3.5)],
        }
    )
    archive.load(deliveries=True)
    assert archive.stored() == [("chubb_ltd", "2016-01-14", 112.0), ("unknown", "2016-06-01", 3.5)]
