"""Small made-up files as vendors write them, and what a load of them is to store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PRICES: list[tuple[float, ...]] = [
    (100.5, 102.0, 99.5, 101.0, 1000.0),
    (101.0, 103.0, 100.0, 102.5, 1200.0),
]
DAYS = ("2025-11-18", "2025-11-19")
SPLIT: list[tuple[float, ...]] = [
    (400.0, 404.0, 396.0, 400.0, 1000.0),
    (100.0, 101.0, 99.0, 100.0, 4000.0),
    (99.5, 100.0, 98.0, 99.0, 4100.0),
]
"""As traded: a split of 4:1, then a dividend of 1."""
SPLIT_DAYS = (*DAYS, "2025-11-20")
YAHOO = "Date,Open,High,Low,Close,Adj Close,Volume"


def rows(days: tuple[str, ...], prices: list[tuple[float, ...]], form: str) -> list[str]:
    """Lines of a file; ``form`` has the places of the columns."""
    names = ("open", "high", "low", "close", "volume")
    return [
        form.format(day=day, short=day.replace("-", ""), **dict(zip(names, each, strict=True)))
        for day, each in zip(days, prices, strict=True)
    ]


def of(
    symbol: str, days: tuple[str, ...] = DAYS, prices: object = None
) -> list[tuple[object, ...]]:
    return [(symbol, day, *each) for day, each in zip(days, prices or PRICES, strict=True)]  # type: ignore[call-overload]


@dataclass(frozen=True)
class Layout:
    """Files of a vendor, what the block says of them, and what a load of them stores."""

    files: Mapping[str, list[str]]
    block: tuple[str, ...]
    stored: list[tuple[object, ...]]
    actions: list[tuple[object, ...]] = field(default_factory=list)
    told: str = ""


STOOQ = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
OHLCV = "{open},{high},{low},{close},{volume}"
EVENTS = [("split", 4.0, None), ("cash_dividend", None, 1.0)]

LAYOUTS = {
    "stooq": Layout(
        {
            f"daily/us/nasdaq stocks/{n}/{name}.us.txt": [
                STOOQ,
                *rows(DAYS, PRICES, f"{name.upper()}.US,D,{{short}},000000,{OHLCV},0"),
            ]
            for n, name in enumerate(("aapl", "brk-b", "abr_d"))
        },
        ("[files.stooq]", 'price_basis = "split_adjusted"', 'date_format = "%Y%m%d"', "/**/*.txt"),
        [*of("AAPL"), *of("ABR.PRD"), *of("BRK.B")],
        told="The suffix .US stands for the United States.",
    ),
    "made from stooq": Layout(
        {
            f"{name}.us.txt": [
                "Date,Open,High,Low,Close,Volume,OpenInt",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV},0"),
            ]
            for name in ("aapl", "brk-b")
        },
        ("symbol_from_filename = true", "basis_on = 2025-11-19"),
        [*of("AAPL"), *of("BRK.B")],
        told="in the name of each file: aapl.us.txt is AAPL.",
    ),
    "yahoo": Layout(
        {
            "AAPL.csv": [
                YAHOO,
                "2025-11-18,100.5,102,99.5,101,99.990001,1000",
                "2025-11-19,101,103,100,102.5,102.5,1200",
            ]
        },
        ("[files.yahoo]", 'adjusted_close = "Adj Close"', 'price_basis = "split_adjusted"'),
        of("AAPL"),
        [("cash_dividend", None, 1.01)],
        told="Close is adjusted for splits up to the day of download",
    ),
    "yahoo as it was": Layout(
        {
            "AAPL.csv": [
                YAHOO,
                *rows(SPLIT_DAYS[:1], SPLIT[:1], "{day},{open},{high},{low},{close},99,{volume}"),
                *rows(SPLIT_DAYS[1:2], SPLIT[1:2], "{day},{open},{high},{low},{close},99,{volume}"),
                *rows(SPLIT_DAYS[2:], SPLIT[2:], "{day},{open},{high},{low},{close},99,{volume}"),
            ]
        },
        ('price_basis = "as_traded"',),
        of("AAPL", SPLIT_DAYS, SPLIT),
        EVENTS,
        told="the adjusted close steps away from the close as a split does",
    ),
    "yfinance": Layout(
        {
            "download.csv": [
                "Price,Close,High,Low,Open,Volume",
                "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL",
                "Date,,,,,",
                *rows(DAYS, PRICES, "{day},{close},{high},{low},{open},{volume}"),
            ]
        },
        ("[files.yfinance]", 'header = ["field", "symbol", "skip"]', 'session = "Price"'),
        of("AAPL"),
        told="a header of 3 lines",
    ),
    "yfinance of several": Layout(
        {
            "download.csv": [
                "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL,BRK-B,BRK-B,BRK-B,BRK-B,BRK-B",
                "Price,Open,High,Low,Close,Volume,Open,High,Low,Close,Volume",
                "Date,,,,,,,,,,",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV},{OHLCV}"),
            ]
        },
        ('header = ["symbol", "field", "skip"]',),
        [*of("AAPL"), *of("BRK.B")],
        told="in the header: AAPL, BRK-B.",
    ),
    "yfinance history": Layout(
        {
            "AAPL.csv": [
                "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
                *rows(DAYS, PRICES, f"{{day}} 00:00:00-05:00,{OHLCV},0.0,0.0"),
            ]
        },
        ('price_basis = "split_adjusted"',),
        of("AAPL"),
        told="Read them with adjust=none",
    ),
    "massive": Layout(
        {
            f"2025/11/{day}.csv.gz": [
                "ticker,volume,open,close,high,low,window_start,transactions",
                *(f"{t},{v},{o},{c},{h},{low},{start}000000000,7" for t in ("AAPL", "BACpL")),
            ]
            for (day, start), (o, h, low, c, v) in zip(
                zip(DAYS, (1763442000, 1763528400), strict=True), PRICES, strict=True
            )
        },
        (
            *("[files.massive]", 'date_format = "epoch_ns"', 'symbols_on = "session"'),
            'symbol_spelling = "tape"',
        ),
        [*of("AAPL"), *of("BAC.PRL")],
        told="nanoseconds since 1970 (UTC)",
    ),
    "eodhd": Layout(
        {
            "AAPL.US.csv": [
                "Date,Open,High,Low,Close,Adjusted_close,Volume",
                *rows(SPLIT_DAYS, SPLIT, "{day},{open},{high},{low},{close},99.0,{volume}"),
            ]
        },
        ("[files.eodhd]", 'price_basis = "as_traded"', 'adjusted_close = "Adjusted_close"'),
        of("AAPL", SPLIT_DAYS, SPLIT),
        EVENTS,
        told="splits and dividends are read off the steps of Adjusted_close",
    ),
    "alpha vantage": Layout(
        {
            "daily_IBM.csv": [
                "timestamp,open,high,low,close,volume",
                *rows(DAYS[::-1], PRICES[::-1], f"{{day}},{OHLCV}"),
            ]
        },
        ("[files.alphavantage]", 'price_basis = "as_traded"', 'symbol_pattern = "daily_*"'),
        of("IBM"),
        told="TIME_SERIES_DAILY is as traded",
    ),
    "alpha vantage adjusted": Layout(
        {
            "daily_adjusted_IBM.csv": [
                "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,"
                "split_coefficient",
                "2025-11-20,99.5,100,98,99,99,4100,1.0000,1.0",
                "2025-11-19,100,101,99,100,99,4000,0.0000,4.0",
                "2025-11-18,400,404,396,400,99,1000,0.0000,1.0",
            ]
        },
        ('split = "split_coefficient"', 'dividend = "dividend_amount"'),
        of("IBM", SPLIT_DAYS, SPLIT),
        EVENTS,
    ),
    "tiingo": Layout(
        {
            "AAPL.csv": [
                "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,"
                "splitFactor",
                "2025-11-18T00:00:00.000Z,400,404,396,400,1000,99,1,1,1,1,0.0,1.0",
                "2025-11-19T00:00:00.000Z,100,101,99,100,4000,99,1,1,1,1,0.0,4.0",
                "2025-11-20T00:00:00.000Z,99,100,98,99.5,4100,99,1,1,1,1,1.0,1.0",
            ]
        },
        ("[files.tiingo]", 'split = "splitFactor"', 'dividend = "divCash"'),
        of("AAPL", SPLIT_DAYS, SPLIT),
        EVENTS,
    ),
    "quandl wiki": Layout(
        {
            "WIKI_PRICES.csv": [
                "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_high,"
                "adj_low,adj_close,adj_volume",
                "AAPL,2025-11-18,400,404,396,400,1000.0,0.0,1.0,1,1,1,99,1",
                "AAPL,2025-11-19,100,101,99,100,4000.0,0.0,4.0,1,1,1,99,1",
                "AAPL,2025-11-20,99.5,100,98,99,4100.0,1.0,1.0,1,1,1,99,1",
            ]
        },
        ("[files.quandl_wiki]", 'dividend = "ex-dividend"', 'price_basis = "as_traded"'),
        of("AAPL", SPLIT_DAYS, SPLIT),
        EVENTS,
    ),
    "a folder of one file a symbol": Layout(
        {
            "stocks/A.csv": [
                "Date,Open,High,Low,Close,Volume",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
            ],
            "etfs/SPY.csv": [
                "Date,Open,High,Low,Close,Volume",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
            ],
            "README.md": ["Prices"],
        },
        ("/**/*.csv", 'price_basis = "split_adjusted"', "symbol_from_filename = true"),
        [*of("A"), *of("SPY")],
        told="as traded or adjusted for splits: the columns can't tell. The block says "
        "split_adjusted, because",
    ),
    "one file of all symbols": Layout(
        {
            "all_stocks.csv": [
                "date,open,high,low,close,volume,Name",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV},AAL"),
            ]
        },
        ('symbol = "Name"',),
        of("AAL"),
    ),
    "as a continental writes": Layout(
        {
            "AAPL.csv": [
                "Date;Open;High;Low;Close;Volume",
                "18.11.2025;1.100,5;1.102;1.099,5;1.101;1.000",
                "19.11.2025;1.101;1.103;1.100;1.102,5;1.200",
            ]
        },
        ('delimiter = ";"', 'date_format = "%d.%m.%Y"', 'decimal_mark = ","', 'numbers = "."'),
        of("AAPL", DAYS, [(*(price + 1000 for price in each[:4]), each[4]) for each in PRICES]),
        told="a comma before decimals, points between thousands",
    ),
    "nasdaq": Layout(
        {
            "HistoricalData_AAPL.csv": [
                "Date,Close/Last,Volume,Open,High,Low",
                '11/19/2025,$102.50,"1,200",$101.00,$103.00,$100.00',
                '11/18/2025,$101.00,"1,000",$100.50,$102.00,$99.50',
            ]
        },
        ('close = "Close/Last"', 'date_format = "%m/%d/%Y"', 'ignore_in_numbers = "$,"'),
        of("AAPL"),
    ),
    "a pair": Layout(
        {
            "BTC-USD.csv": [
                YAHOO,
                *rows(DAYS, PRICES, "{day},{open},{high},{low},{close},{close},{volume}"),
            ]
        },
        ("[files.yahoo]",),
        of("BTC-USD"),
    ),
    "a pair in euros, with blanks in the header": Layout(
        {
            "BTC-EUR.csv": [
                "Date, Open, High, Low, Close, Volume",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
            ]
        },
        ('currency = "EUR"', 'close = " Close"'),
        of("BTC-EUR"),
    ),
    "quandl's classes of shares": Layout(
        {
            f"WIKI-{name}.csv": [
                "Date,Open,High,Low,Close,Volume",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
            ]
            for name in ("AAPL", "BRK_B")
        },
        ('symbol_pattern = "WIKI-*"',),
        [*of("AAPL"), *of("BRK.B")],
    ),
    "exchanges beside symbols": Layout(
        {
            "all.csv": [
                "Ticker,Date,Open,High,Low,Close,Volume",
                *rows(DAYS, PRICES, f"AAPL US Equity,{{day}},{OHLCV}"),
                *rows(DAYS, PRICES, f"NYSE:BRK.B,{{day}},{OHLCV}"),
                *rows(DAYS, PRICES, f"BTC/USD,{{day}},{OHLCV}"),
            ]
        },
        ('symbol = "Ticker"',),
        [*of("AAPL"), *of("BRK.B"), *of("BTC-USD")],
    ),
    "an index without a name": Layout(
        {"AAPL.csv": [",Open,High,Low,Close,Volume", *rows(DAYS, PRICES, f"{{day}},{OHLCV}")]},
        ('session = "Unnamed: 0"',),
        of("AAPL"),
    ),
    "blanks around names": Layout(
        {
            "AAPL.csv": [
                " date , open , high , low , close , volume ",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
            ]
        },
        ('session = " date "',),
        of("AAPL"),
    ),
    "as a German writes": Layout(
        {
            "AAPL.csv": [
                "Datum;Er\u00f6ffnung;Hoch;Tief;Schlusskurs;Volumen",
                "18.11.2025;100,5;102;99,5;101;1000",
                "19.11.2025;101;103;100;102,5;1200",
            ]
        },
        ('open = "Er\u00f6ffnung"', 'close = "Schlusskurs"'),
        of("AAPL"),
    ),
    "yahoo's page": Layout(
        {
            "AAPL.txt": [
                "Date\tOpen\tHigh\tLow\tClose Close price adjusted for splits.\tAdj Close Adjusted "
                "close price adjusted for splits and dividend and/or capital gain distributions."
                "\tVolume",
                "Nov 19, 2025\t101.00\t103.00\t100.00\t102.50\t102.50\t1,200",
                "Nov 18, 2025\t100.50\t102.00\t99.50\t101.00\t101.00\t1,000",
            ]
        },
        ('date_format = "%b %d, %Y"', 'ignore_in_numbers = ","'),
        of("AAPL"),
    ),
    "from before the calendar": Layout(
        {
            "IBM.csv": [
                "Date,Open,High,Low,Close,Volume",
                *(f"19{year}-01-05,1,2,1,2,5" for year in range(28, 62)),
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
            ]
        },
        (),
        of("IBM"),
        told="34 rows are older than 1990-01-02, where the known sessions begin",
    ),
    "a note below the rows": Layout(
        {
            "AAPL.csv": [
                "Date,Open,High,Low,Close,Volume",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
                *(f"2025-11-{day},1,2,1,2,5" for day in (20, 21, 24)),
                "Data provided by X,,,,,",
            ]
        },
        (),
        [*of("AAPL"), *(("AAPL", f"2025-11-{d}", 1.0, 2.0, 1.0, 2.0, 5.0) for d in (20, 21, 24))],
    ),
    "lines above the header": Layout(
        {
            "AAPL.csv": [
                "Prices of AAPL",
                "",
                "Date,Open,High,Low,Close,Volume",
                *rows(DAYS, PRICES, f"{{day}},{OHLCV}"),
            ]
        },
        ('header = ["skip", "skip", "field"]',),
        of("AAPL"),
    ),
}
