"""One frozen Settings from file, environment and flags; mistakes are sentences."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from quant_assets.settings.settings import Settings, SettingsError, load_settings, shown
from quant_assets.settings.sources import FilesArchive

FILE = """
home = "from_file"
source = "files:ours"
extra_closures = [2025-01-09]

[simulated]
symbols = 30
start = 2023-01-03

[files.ours]
paths = ["prices/*.csv"]
price_basis = "split_adjusted"
basis_on = 2024-03-09
columns = { close = "Close", adjusted_close = "Adj Close" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project folder with a settings file, and a folder to stand in."""
    (tmp_path / "project").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "project" / "quant_assets.toml").write_text(FILE, "utf-8")
    return tmp_path


def load(folder: Path, flags: dict[str, object] | None = None, **environment: str) -> Settings:
    variables = {f"QUANT_ASSETS_{name}": value for name, value in environment.items()}
    return load_settings(variables, flags=flags, working_directory=folder / "project")


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings({"PATH": "/bin", "HOME": "/root"}, working_directory=tmp_path)
    assert settings == Settings(root=tmp_path)
    assert settings.warehouse_path == tmp_path / "data" / "warehouse.duckdb"


def test_flags_win_over_the_environment_and_the_environment_over_the_file(folder: Path) -> None:
    assert load(folder).simulated.symbols == 30
    assert load(folder, SIMULATED__SYMBOLS="40").simulated.symbols == 40
    flags: dict[str, object] = {"simulated": {"symbols": 50}}
    assert load(folder, flags, SIMULATED__SYMBOLS="40").simulated.symbols == 50


def test_a_nested_key_leaves_its_neighbours_alone(folder: Path) -> None:
    simulated = load(folder, {"simulated": {"seed": 9}}, SIMULATED__SYMBOLS="40").simulated
    assert (simulated.symbols, simulated.start, simulated.seed) == (40, dt.date(2023, 1, 3), 9)


def test_the_file_is_the_named_one_else_the_variables_else_the_one_here(folder: Path) -> None:
    one, two = folder / "one.toml", folder / "two.toml"
    one.write_text('source = "one"', "utf-8")
    two.write_text('source = "two"', "utf-8")
    here = folder / "project"
    variable = {"QUANT_ASSETS_CONFIG": str(two)}
    assert load_settings({}, working_directory=here).source == "files:ours"
    assert load_settings(variable, working_directory=here).source == "two"
    assert load_settings(variable, config=one, working_directory=here).source == "one"


def test_lists_are_separated_by_commas_in_the_environment(folder: Path) -> None:
    settings = load(
        folder,
        SOURCE_ORDER="files:ours, simulated",
        EXTRA_CLOSURES="2024-06-05",
        FILES__OURS__PATHS="a.csv,b.csv",
    )
    assert settings.source_order == ("files:ours", "simulated")
    assert settings.extra_closures == (dt.date(2024, 6, 5),)
    assert settings.files["ours"].paths == ("a.csv", "b.csv")
    assert settings.files["ours"].columns.close == "Close"


def test_relative_paths_start_from_the_settings_file(folder: Path) -> None:
    project = folder / "project"
    settings = load_settings(
        {}, config=Path("../project/quant_assets.toml"), working_directory=folder / "elsewhere"
    )
    assert settings.home_path.resolve() == project / "from_file"
    assert Path(settings.resolve("prices/*.csv")).resolve() == project / "prices" / "*.csv"
    assert settings.resolve("/srv/prices.csv") == "/srv/prices.csv"
    assert settings.resolve("https://example.org/sp500.csv") == "https://example.org/sp500.csv"


def test_home_in_the_environment_starts_from_the_working_directory(folder: Path) -> None:
    settings = load_settings(
        {"QUANT_ASSETS_HOME": "data2"},
        config=folder / "project" / "quant_assets.toml",
        working_directory=folder / "elsewhere",
    )
    assert settings.home_path == folder / "elsewhere" / "data2"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("hme = 'x'", "hme"),
        ("[simulated]\nsymbol = 3", "simulated.symbol"),
        ("[files.a]\npaths = ['a']\nprice_basis = 'as_traded'\ncolum = 1", "files.a.colum"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused_by_name(tmp_path: Path, line: str, key: str) -> None:
    path = tmp_path / "quant_assets.toml"
    path.write_text(line, "utf-8")
    with pytest.raises(SettingsError) as refused:
        load_settings({}, working_directory=tmp_path)
    assert str(refused.value) == (
        f"Unknown setting {key} in {path} or the environment. "
        "quant-assets config show lists all settings."
    )


@pytest.mark.parametrize(
    ("variable", "key"),
    [("HOMEE", "homee"), ("SIMULATED__SYMBOL", "simulated.symbol"), ("A__B__C", "a")],
)
def test_an_unknown_key_of_the_environment_is_refused_by_name(
    tmp_path: Path, variable: str, key: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({f"QUANT_ASSETS_{variable}": "1"}, working_directory=tmp_path)
    assert str(refused.value) == (
        f"Unknown setting {key} in the environment. quant-assets config show lists all settings."
    )


def test_every_mistake_is_listed_with_its_key(tmp_path: Path) -> None:
    wrong = {"QUANT_ASSETS_SIMULATED__SYMBOLS": "many", "QUANT_ASSETS_LOCK_WAIT_SECONDS": "-1"}
    with pytest.raises(SettingsError) as refused:
        load_settings(wrong, working_directory=tmp_path)
    lines = str(refused.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "Setting lock_wait_seconds, given '-1'",
        "Setting simulated.symbols, given 'many'",
    ]


@pytest.mark.parametrize(
    "variables",
    [
        {"QUANT_ASSETS_SOURCE": "a", "QUANT_ASSETS_SOURCE__X": "b"},
        {"QUANT_ASSETS_HOME": "a", "QUANT_ASSETS_HOME__X": "b"},
        {"QUANT_ASSETS_SIMULATED": "3"},
    ],
)
def test_a_key_that_is_no_group_can_not_have_keys_below_it(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match=r"source|home|simulated"):
        load_settings(variables, working_directory=tmp_path)


@pytest.mark.parametrize(
    ("archive", "complaint"),
    [
        ({"price_basis": "split_adjusted"}, "need basis_on, the day of their split basis"),
        ({"price_basis": "as_traded", "basis_on": "2024-03-09"}, "drop basis_on"),
        ({"price_basis": "adjusted"}, "'as_traded' or 'split_adjusted'"),
        ({}, "Field required"),
    ],
)
def test_an_archive_must_say_in_which_shares_it_speaks(
    tmp_path: Path, archive: dict[str, str], complaint: str
) -> None:
    files = {"ours": {"paths": ["a.csv"], **archive}}
    with pytest.raises(SettingsError, match=complaint) as refused:
        load_settings({}, flags={"files": files}, working_directory=tmp_path)
    assert "files.ours" in str(refused.value)


def test_an_archive_in_a_currency_the_warehouse_does_not_know_is_refused() -> None:
    # Unrefused it fails inside DuckDB, after everything has been read.
    with pytest.raises(ValidationError, match="usd"):
        FilesArchive(paths=("a.csv",), price_basis="as_traded", currency="usd")


def test_a_broken_file_is_named_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "quant_assets.toml"
    path.write_text("home = \n", "utf-8")
    with pytest.raises(SettingsError) as refused:
        load_settings({}, working_directory=tmp_path)
    assert str(refused.value).startswith(f"{path} is not valid TOML: ")
    assert "line 1" in str(refused.value)


def test_a_file_in_another_encoding_is_named_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "quant_assets.toml"
    path.write_bytes('source = "é"'.encode("latin-1"))
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings({}, working_directory=tmp_path)


@pytest.mark.parametrize("name", ["missing.toml", "missing/quant_assets.toml"])
def test_a_missing_file_is_named_in_a_sentence(tmp_path: Path, name: str) -> None:
    expected = f"There is no settings file {tmp_path / name}."
    with pytest.raises(SettingsError) as refused:
        load_settings({}, config=Path(name), working_directory=tmp_path)
    assert str(refused.value) == expected
    with pytest.raises(SettingsError) as refused:
        load_settings({"QUANT_ASSETS_CONFIG": name}, working_directory=tmp_path)
    assert str(refused.value) == expected


def test_a_folder_in_place_of_the_file_is_named_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=str(tmp_path)):
        load_settings({}, config=tmp_path, working_directory=tmp_path)


def test_an_empty_config_variable_counts_as_none(folder: Path) -> None:
    assert load(folder, CONFIG="").source == "files:ours"


def test_the_root_can_not_be_set_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "quant_assets.toml").write_text('root = "/"', "utf-8")
    with pytest.raises(SettingsError, match="root is the file's own folder"):
        load_settings({}, working_directory=tmp_path)


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.source = "simulated"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.simulated.seed = 1  # type: ignore[misc]


class WithSecrets(Settings):
    """What a later setting with a secret in it looks like."""

    news_token: str = ""
    slack_webhook: str = ""


def test_secrets_are_masked_and_unset_ones_show_as_unset(tmp_path: Path) -> None:
    visible = shown(WithSecrets(root=tmp_path, news_token="hush", source="simulated"))
    assert visible["news_token"] == "********"
    assert visible["slack_webhook"] == ""
    assert visible["source"] == "simulated"
    assert "hush" not in json.dumps(visible)


@pytest.mark.parametrize(
    "address",
    ["https://me:hush@example.org/sp500.csv", "https://example.org/sp500.csv?token=hush"],
)
def test_a_secret_inside_an_address_is_masked_too(tmp_path: Path, address: str) -> None:
    settings = Settings.model_validate({"root": tmp_path, "universe": {"constituents": address}})
    visible = json.dumps(shown(settings))
    assert "example.org" in visible
    assert "hush" not in visible


def test_shown_settings_are_plain_values_with_the_folder_in_force(folder: Path) -> None:
    visible = shown(load(folder))
    assert json.loads(json.dumps(visible)) == visible
    assert visible["home"] == str(folder / "project" / "from_file")
    assert visible["extra_closures"] == ["2025-01-09"]


@pytest.mark.parametrize("name", ["q?x=1", "caf\udce9"])
def test_a_data_folder_that_duckdb_cannot_open_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"Setting home, given .* DuckDB opens no file whose"):
        load_settings({"QUANT_ASSETS_HOME": name}, working_directory=tmp_path)


def test_the_names_of_the_ui_are_separated_by_commas_in_the_environment(tmp_path: Path) -> None:
    names = {"QUANT_ASSETS_ALLOWED_HOSTS": "db.example, db"}
    settings = load_settings(names, working_directory=tmp_path)
    assert settings.allowed_hosts == ("db.example", "db")
