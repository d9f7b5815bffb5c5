"""The boards' files: they are in one form, refer to what exists, and hold nothing of one installation."""

import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlglot
import yaml
from sqlglot import exp

from dashboards import assets
from functions.platform.warehouse import Credentials

REPOSITORY = Path(__file__).resolve().parents[3]
OWN = assets.read()
LOGIN = Credentials(
    "acme-eu",
    "TUGBOAT_PROD_DASHBOARDS",
    "-----KEY-----",
    "TUGBOAT_PROD_READER",
    "TUGBOAT_PROD_READERS",
    "TUGBOAT_PROD",
)
UUIDS = {asset["uuid"]: path for path, asset in OWN.items()}


def of_kind(kind: str) -> dict[str, assets.Asset]:
    return {path: asset for path, asset in OWN.items() if assets.kind_of(path) == kind}


DATASETS = of_kind("datasets")
CHARTS = of_kind("charts")
BOARDS = of_kind("dashboards")


def dataset_of(chart: assets.Asset) -> assets.Asset:
    return OWN[UUIDS[chart["dataset_uuid"]]]


@pytest.mark.parametrize("path", sorted(OWN))
def test_a_file_is_in_the_form_that_an_export_writes(path: str) -> None:
    asset = OWN[path]
    kind = assets.kind_of(path)
    assert (assets.ROOT / path).read_text() == assets.text(asset)
    assert kind == "databases" or assets.canonical(kind, asset) == asset


def test_there_are_four_boards_and_every_uuid_is_there_once() -> None:
    assert len(BOARDS) == 4
    assert len(UUIDS) == len(OWN)


def test_every_reference_resolves_and_nothing_is_an_orphan() -> None:
    (database,) = of_kind("databases").values()
    assert {asset["database_uuid"] for asset in DATASETS.values()} == {database["uuid"]}
    assert {asset["dataset_uuid"] for asset in CHARTS.values()} == {
        asset["uuid"] for asset in DATASETS.values()
    }
    shown = [uuid for board in BOARDS.values() for uuid in assets.charts_of(board)]
    assert sorted(shown) == sorted(asset["uuid"] for asset in CHARTS.values())
    for board in BOARDS.values():
        for native_filter in board["metadata"]["native_filter_configuration"]:
            for target in native_filter["targets"]:
                assert not target or UUIDS[target["datasetUuid"]] in DATASETS


@pytest.mark.parametrize("path", sorted(BOARDS))
def test_a_board_places_every_part_in_a_row_of_at_most_twelve_columns(path: str) -> None:
    position = BOARDS[path]["position"]
    placed = {
        child for part in position.values() if isinstance(part, dict) for child in part.get("children", [])
    }
    assert placed == position.keys() - {"DASHBOARD_VERSION_KEY", "ROOT_ID", "HEADER_ID"}
    for row in (part for part in position.values() if isinstance(part, dict) and part["type"] == "ROW"):
        assert sum(position[child]["meta"]["width"] for child in row["children"]) <= 12
    for part in position.values():
        if isinstance(part, dict) and part["type"] == "CHART":
            assert part["meta"]["sliceName"] == OWN[UUIDS[part["meta"]["uuid"]]]["slice_name"]


@pytest.mark.parametrize("path", sorted(BOARDS))
def test_a_board_filters_by_days_and_shop_where_its_charts_can(path: str) -> None:
    board = BOARDS[path]
    filters = {one["name"]: one for one in board["metadata"]["native_filter_configuration"]}
    assert filters.keys() == {"Days", "Shop"}
    numbers = {
        part["meta"]["chartId"]: dataset_of(OWN[UUIDS[part["meta"]["uuid"]]])
        for part in board["position"].values()
        if isinstance(part, dict) and part["type"] == "CHART"
    }
    for number, dataset in numbers.items():
        columns = {column["column_name"] for column in dataset["columns"]}
        assert "shop_id" in columns or number in filters["Shop"]["scope"]["excluded"]
        assert dataset.get("main_dttm_col") or number in filters["Days"]["scope"]["excluded"]


def documented(table: str) -> set[str]:
    """Return the columns of a mart that dbt's manifest has, which takes them from the model's .yml."""
    (model,) = yaml.safe_load((REPOSITORY / "sql" / "models" / "marts" / f"{table}.yml").read_text())[
        "models"
    ]
    return {column["name"] for column in model["columns"]}


def of_setup(table: str) -> set[str]:
    """Return the columns of a table or view of sql/setup."""
    sql = "".join(file.read_text() for file in sorted((REPOSITORY / "sql" / "setup").glob("*.sql")))
    sql = re.sub(r"\{\{ (\w+) \}\}", r"\1", sql)
    (created,) = re.findall(
        rf"create (?:table|view) if not exists database\.QA\.{table}\b.*?;\n", sql, re.DOTALL
    )
    tree = sqlglot.parse_one(created, read="snowflake")
    assert isinstance(tree, exp.Create)
    if query := tree.args.get("expression"):
        return {name.lower() for name in query.named_selects}
    return {column.name.lower() for column in tree.this.expressions}


@pytest.mark.parametrize("path", sorted(DATASETS))
def test_every_column_of_a_dataset_exists_in_the_warehouse(path: str) -> None:
    dataset = DATASETS[path]
    table = dataset["table_name"]
    known = documented(table.lower()) if dataset["schema"] == "MARTS" else of_setup(table)
    assert {column["column_name"] for column in dataset["columns"]} - known == set()
    assert dataset.get("main_dttm_col") in known | {None}


@pytest.mark.parametrize("path", [path for path, dataset in sorted(DATASETS.items()) if "sql" in dataset])
def test_a_dataset_of_a_query_has_the_columns_that_the_query_returns(path: str) -> None:
    dataset = DATASETS[path]
    query = sqlglot.parse_one(dataset["sql"], read="snowflake")
    assert isinstance(query, exp.Select)
    assert {name.lower() for name in query.named_selects} == {
        one["column_name"] for one in dataset["columns"]
    }
    (table,) = query.find_all(exp.Table)
    assert (table.db, table.name) == (dataset["schema"], dataset["table_name"])
    assert {column.name.lower() for column in query.find_all(exp.Column)} <= of_setup(table.name)


@pytest.mark.parametrize("path", sorted(DATASETS))
def test_every_metric_of_a_dataset_is_sql_over_its_columns(path: str) -> None:
    dataset = DATASETS[path]
    columns = {column["column_name"] for column in dataset["columns"]}
    names = {metric["metric_name"] for metric in dataset["metrics"]}
    assert len(names) == len(dataset["metrics"])
    # Superset writes a metric's label over every equal text of a chart, such as a column's name or a verdict.
    assert names & columns == set()
    for metric in dataset["metrics"]:
        tree = sqlglot.parse_one(metric["expression"], read="snowflake")
        assert {column.name for column in tree.find_all(exp.Column)} <= columns
        assert tree.find(exp.AggFunc) is not None


@pytest.mark.parametrize("path", sorted(CHARTS))
def test_a_chart_uses_columns_and_metrics_of_its_dataset(path: str) -> None:
    chart = CHARTS[path]
    dataset, params = dataset_of(chart), chart["params"]
    columns = {column["column_name"] for column in dataset["columns"]}
    metrics = {metric["metric_name"] for metric in dataset["metrics"]}
    used_metrics = {*params.get("metrics", []), *params.get("metrics_b", [])}
    used_metrics |= {params[key] for key in ("metric", "timeseries_limit_metric") if key in params}
    used_columns = {*params.get("groupby", []), *params.get("groupby_b", []), *params.get("all_columns", [])}
    used_columns |= {params["x_axis"]} if "x_axis" in params else set()
    used_columns |= {
        one["subject"] for key in ("adhoc_filters", "adhoc_filters_b") for one in params.get(key, [])
    }
    used_columns |= {json.loads(order)[0] for order in params.get("order_by_cols", [])}
    assert used_metrics | used_columns
    assert used_metrics - metrics == set()
    assert used_columns - columns == set()
    assert params["viz_type"] == chart["viz_type"]


@pytest.mark.parametrize("path", sorted(CHARTS))
def test_a_chart_can_be_filtered_by_days(path: str) -> None:
    chart = CHARTS[path]
    column = dataset_of(chart).get("main_dttm_col")
    ranges = [one for one in chart["params"]["adhoc_filters"] if one["operator"] == "TEMPORAL_RANGE"]
    assert [one["subject"] for one in ranges] == ([column] if column else [])


def test_no_file_holds_a_secret_or_an_address() -> None:
    (database,) = of_kind("databases").values()
    assert re.findall(r"\{(\w+)\}", database["sqlalchemy_uri"]) == [
        "user",
        "account",
        "database",
        "role",
        "warehouse",
    ]
    secret = json.loads(database["masked_encrypted_extra"])
    assert secret == {"auth_method": "keypair", "auth_params": {"privatekey_body": assets.MASK}}
    for path in OWN:
        assert not re.search(r"https?://|PRIVATE KEY|127\.0\.0\.1", (assets.ROOT / path).read_text()), path


def test_a_bundle_has_the_address_of_the_login_and_its_key_goes_beside_it() -> None:
    with zipfile.ZipFile(io.BytesIO(assets.bundle(OWN, LOGIN))) as packed:
        names = set(packed.namelist())
        database = yaml.safe_load(packed.read("tugboat/databases/warehouse.yaml"))
        everything = b"".join(packed.read(name) for name in names)
    assert names == {f"tugboat/{path}" for path in OWN} | {"tugboat/metadata.yaml"}
    assert database["sqlalchemy_uri"] == (
        "snowflake://TUGBOAT_PROD_DASHBOARDS@acme-eu/TUGBOAT_PROD?role=TUGBOAT_PROD_READER&warehouse=TUGBOAT_PROD_READERS"
    )
    assert "host" not in database["extra"]["engine_params"]["connect_args"]
    assert b"-----KEY-----" not in everything
    assert assets.secrets(LOGIN) == {
        "databases/warehouse.yaml": {"$.auth_params.privatekey_body": "-----KEY-----"}
    }


def test_a_warehouse_elsewhere_is_reached_by_the_connector_s_arguments() -> None:
    local = replace(LOGIN, host="127.0.0.1", port=4568, protocol="http")
    arguments = assets.connected(OWN[assets.DATABASE_FILE], local)["extra"]["engine_params"]["connect_args"]
    assert (arguments["host"], arguments["port"], arguments["protocol"]) == ("127.0.0.1", 4568, "http")
    assert arguments["session_parameters"]["TIMEZONE"] == "UTC"


def exported(changes: dict[str, Any] | None = None, more: dict[str, assets.Asset] | None = None) -> bytes:
    """Return an export as Superset writes it: other names, numbers of its own, another order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for number, (path, asset) in enumerate(reversed({**OWN, **(more or {})}.items()), start=70):
            content = json.loads(json.dumps({**asset, **(changes or {}).get(path, {})}))
            if path in CHARTS:
                content["params"] |= {"datasource": f"{number}__table", "slice_id": number, "dashboards": [3]}
                content |= {"query_context": "{}", "cache_timeout": None, "is_managed_externally": False}
            if path in BOARDS:
                for key, part in content["position"].items():
                    if key.startswith("CHART-"):
                        part["meta"]["chartId"] += number
                for native_filter in content["metadata"]["native_filter_configuration"]:
                    excluded = native_filter["scope"]["excluded"]
                    native_filter["scope"]["excluded"] = [one + number for one in reversed(excluded)]
                    native_filter["chartsInScope"] = [number]
            packed.writestr(f"export/{assets.kind_of(path)}/Name_{number}.yaml", yaml.safe_dump(content))
    return buffer.getvalue()


def test_an_export_without_changes_gives_the_files_again() -> None:
    assert assets.unpacked(exported(), OWN) == OWN


def test_an_export_brings_a_changed_chart_and_leaves_other_projects_out() -> None:
    path = sorted(CHARTS)[0]
    foreign: dict[str, assets.Asset] = {
        "databases/other.yaml": {"database_name": "Other", "uuid": "d"},
        "datasets/other.yaml": {
            "table_name": "OTHER",
            "uuid": "t",
            "database_uuid": "d",
            "columns": [],
            "metrics": [],
        },
    }
    found = assets.unpacked(exported({path: {"slice_name": "A better name"}}, foreign), OWN)
    assert found.keys() == OWN.keys()
    assert found[path] == {**OWN[path], "slice_name": "A better name"}


def test_writing_an_export_names_what_changed_and_deletes_what_is_gone(tmp_path: Path) -> None:
    assert assets.write(OWN, tmp_path) == [f"new     {path}" for path in OWN]
    path, gone = sorted(CHARTS)[:2]
    after = {key: asset for key, asset in OWN.items() if key != gone}
    after[path] = {**OWN[path], "slice_name": "A better name"}
    assert assets.write(after, tmp_path) == [f"changed {path}", f"deleted {gone}"]
    assert assets.read(tmp_path) == after


def test_a_file_without_a_uuid_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "broken.yaml").write_text("slice_name: x\n")
    with pytest.raises(assets.AssetError, match="charts/broken"):
        assets.read(tmp_path)
