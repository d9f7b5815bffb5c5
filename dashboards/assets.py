"""The boards as Superset's YAML assets: read them, write them in one form, and pack them for an import."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from functions.platform.warehouse import Credentials

ROOT = Path(__file__).with_name("assets")
KINDS = ("databases", "datasets", "charts", "dashboards")
DATABASE_FILE = "databases/warehouse.yaml"
# Superset replaces this text by the secret that is sent beside the bundle.
MASK = "XXXXXXXXXX"
PRIVATE_KEY_PATH = "$.auth_params.privatekey_body"
# The name of an asset, by kind: its file is called after it.
TITLES = {
    "databases": "database_name",
    "datasets": "table_name",
    "charts": "slice_name",
    "dashboards": "dashboard_title",
}

# What an export adds and a person need not read: numbers of one installation, and fields that other fields repeat.
NUMBERS = {
    "chart_configuration", "chartsInScope", "color_scheme_domain", "dashboardId", "dashboards", "datasource",
    "datasourceId", "global_chart_configuration", "map_label_colors", "shared_label_colors", "slice_id", "tabsInScope",
    "url_params",
}  # fmt: skip
REPEATED = {
    "charts": {"cache_timeout", "query_context"},
    "dashboards": {"theme_id", "theme_uuid"},
    "datasets": {"cache_timeout", "catalog", "source_db_engine"},
}
# The values with which Superset starts an asset: no need to state them.
DEFAULTS: dict[str, Any] = {
    "advanced_data_type": None,
    "always_filter_main_dttm": False,
    "annotation_layers": [],
    "default_endpoint": None,
    "expanded_slices": {},
    "extra": None,
    "fetch_values_predicate": None,
    "filter_select_enabled": True,
    "filterable": True,
    "is_active": True,
    "is_managed_externally": False,
    "label_colors": {},
    "normalize_columns": False,
    "offset": 0,
    "params": None,
    "tags": [],
    "template_params": None,
    "timed_refresh_immune_slices": [],
}
Asset = dict[str, Any]


class AssetError(Exception):
    """An asset cannot be used. The message names it."""


def read(root: Path = ROOT) -> dict[str, Asset]:
    """Return every asset by its path below the root, such as `charts/shop_sessions.yaml`.

    Raises:
        AssetError: a file is not the YAML of an asset.
    """
    found = {}
    for kind in KINDS:
        for file in sorted((root / kind).glob("*.yaml")):
            path = file.relative_to(root).as_posix()
            content = yaml.safe_load(file.read_text())
            if not isinstance(content, dict) or "uuid" not in content:
                raise AssetError(f"{path} is no asset: give it a uuid, or restore it with git")
            found[path] = content
    return found


def kind_of(path: str) -> str:
    """Return the kind of an asset: the first folder of its path."""
    return path.partition("/")[0]


def text(asset: Asset) -> str:
    """Return an asset as its file holds it."""
    written: str = yaml.safe_dump(asset, sort_keys=True, allow_unicode=True, width=110)
    return written


def canonical(kind: str, asset: Asset) -> Asset:
    """Return an asset without the numbers of one installation, without defaults, and with its lists in order."""
    kept = {key: value for key, value in asset.items() if key not in REPEATED.get(kind, ())}
    found: Asset = _without_numbers(kept)
    for key in ("columns", "metrics"):
        if key in found:
            name = "column_name" if key == "columns" else "metric_name"
            found[key] = sorted(found[key], key=lambda one: str(one[name]))
    if kind == "dashboards":
        _number_charts(found)
    return found


def _number_charts(dashboard: Asset) -> None:
    """Give the charts numbers from 1. The import needs numbers, and replaces them by its own."""
    position = dashboard["position"]
    charts = [position[key]["meta"] for key in sorted(position) if key.startswith("CHART-")]
    numbers = {meta.get("chartId"): number for number, meta in enumerate(charts, start=1)}
    for number, meta in enumerate(charts, start=1):
        meta["chartId"] = number
    for native_filter in dashboard["metadata"].get("native_filter_configuration", []):
        scope = native_filter["scope"]
        scope["excluded"] = sorted(numbers[one] for one in scope["excluded"] if one in numbers)


def _without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        cleaned = {key: _without_numbers(one) for key, one in value.items() if key not in NUMBERS}
        return {
            key: one
            for key, one in cleaned.items()
            if one is not None and not (key in DEFAULTS and DEFAULTS[key] == one)
        }
    if isinstance(value, list):
        return [_without_numbers(one) for one in value]
    return value


def bundle(assets: Mapping[str, Asset], login: Credentials) -> bytes:
    """Return the zip file of an import. It holds the address of the warehouse, and no key."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("tugboat/metadata.yaml", (ROOT / "metadata.yaml").read_text())
        for path, asset in assets.items():
            content = connected(asset, login) if path == DATABASE_FILE else asset
            packed.writestr(f"tugboat/{path}", text(content))
    return buffer.getvalue()


def connected(database: Asset, login: Credentials) -> Asset:
    """Return the database with the address of a login in the place of its `{names}`."""
    names = {
        "user": quote(login.user, safe=""),
        "account": quote(login.account, safe=""),
        "database": quote(login.database, safe=""),
        "role": quote(login.role, safe=""),
        "warehouse": quote(login.warehouse, safe=""),
    }
    filled = {**database, "sqlalchemy_uri": database["sqlalchemy_uri"].format(**names)}
    if login.host:
        # snowflake-sqlalchemy refuses a port in the address, so another host goes to the connector's arguments.
        extra = json.loads(json.dumps(database["extra"]))
        extra["engine_params"]["connect_args"] |= {
            "host": login.host,
            "port": login.port,
            "protocol": login.protocol,
        }
        filled["extra"] = extra
    return filled


def secrets(login: Credentials) -> dict[str, dict[str, str]]:
    """Return the secrets that are sent beside the bundle: per file, the value per place."""
    return {DATABASE_FILE: {PRIVATE_KEY_PATH: login.private_key_pem}}


def shop_datasets(assets: Mapping[str, Asset]) -> dict[str, Asset]:
    """Return the datasets that a shop may see: those with the column `shop_id`."""
    return {
        path: asset
        for path, asset in assets.items()
        if kind_of(path) == "datasets"
        and any(column["column_name"] == "shop_id" for column in asset["columns"])
    }


def unpacked(packed: bytes, own: Mapping[str, Asset]) -> dict[str, Asset]:
    """Return the assets of an export that belong to this project's database, by path and in canonical form.

    An asset that exists keeps the name of its file. The database keeps its own file: an export has the address of one stage.
    """
    exported: list[tuple[str, Asset]] = []
    with zipfile.ZipFile(io.BytesIO(packed)) as bundle_:
        for name in bundle_.namelist():
            parts = name.split("/")
            if len(parts) > 2 and parts[1] in KINDS and name.endswith(".yaml"):
                exported.append((parts[1], yaml.safe_load(bundle_.read(name))))
    ours = {own[DATABASE_FILE]["uuid"]}
    found = {DATABASE_FILE: own[DATABASE_FILE]}
    paths = {asset["uuid"]: path for path, asset in own.items()}
    # Each kind refers to the one before it, so an asset of another database has no known parent.
    for kind in KINDS[1:]:
        for exported_kind, asset in exported:
            if exported_kind != kind or not _parents(kind, asset) & ours:
                continue
            ours.add(asset["uuid"])
            path = paths.get(asset["uuid"], f"{kind}/{_slug(str(asset[TITLES[kind]]))}.yaml")
            found[path] = canonical(kind, asset)
    return found


def _parents(kind: str, asset: Asset) -> set[str]:
    if kind == "datasets":
        return {asset["database_uuid"]}
    if kind == "charts":
        return {asset.get("dataset_uuid", "")}
    return set(charts_of(asset))


def charts_of(dashboard: Asset) -> list[str]:
    """Return the uuids of the charts on a dashboard, in the order of its position."""
    return [
        str(part["meta"]["uuid"])
        for part in dashboard["position"].values()
        if isinstance(part, dict) and part.get("type") == "CHART"
    ]


def write(assets: Mapping[str, Asset], root: Path = ROOT) -> list[str]:
    """Write the assets and delete the files of others; return one line per file that changed."""
    changed = []
    for path, asset in assets.items():
        file = root / path
        new = text(asset)
        old = file.read_text() if file.exists() else None
        if old != new:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(new)
            changed.append(f"{'changed' if old else 'new    '} {path}")
    for path in sorted(read(root).keys() - assets.keys()):
        (root / path).unlink()
        changed.append(f"deleted {path}")
    return changed


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
