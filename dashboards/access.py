"""Row-level security by shop: a role and a rule per shop, as access.yaml declares them."""

import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from dashboards.assets import Asset, shop_datasets
from dashboards.superset_api import Superset, SupersetError
from deploy.command import DeployError

ACCESS_FILE = Path(__file__).with_name("access.yaml")
# The shop becomes part of a rule's SQL. deploy/stages.py allows the same ids.
SHOP_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def declared() -> dict[str, str]:
    """Return the names and the clause of access.yaml."""
    content: dict[str, str] = yaml.safe_load(ACCESS_FILE.read_text())
    return content


def sync(superset: Superset, assets: Mapping[str, Asset], shops: Iterable[str]) -> list[str]:
    """Create or correct the role and the rule of every shop; return the names of the roles.

    Raises:
        SupersetError: this Superset refuses roles or rules.
        DeployError: a dataset is missing, because nothing has been imported.
    """
    words = declared()
    datasets = _dataset_ids(superset, shop_datasets(assets))
    readable = {f"[{_database(assets)}].[{table}](id:{number})" for table, number in datasets.items()}
    permissions = [
        int(entry["id"])
        for entry in superset.every("security/permissions-resources/")
        if entry["permission"]["name"] == "datasource_access" and entry["view_menu"]["name"] in readable
    ]
    if len(permissions) != len(readable):
        raise DeployError(
            f"Superset has {len(permissions)} permissions for {len(readable)} datasets. Import the boards again"
        )
    roles = {entry["name"]: int(entry["id"]) for entry in superset.every("security/roles/")}
    rules = {entry["name"]: int(entry["id"]) for entry in superset.every("rowlevelsecurity/")}
    made = []
    for shop in shops:
        if not SHOP_ID.fullmatch(shop):
            raise DeployError(f"{shop!r} is no id of a shop: use letters, digits, -, _ and .")
        role = words["role"].format(shop=shop)
        if role not in roles:
            roles[role] = int(superset.send("POST", "security/roles/", {"name": role})["id"])
        rule = {
            "name": words["rule"].format(shop=shop),
            "description": f"Only rows of the shop {shop}.",
            "filter_type": "Regular",
            "clause": words["clause"].format(shop=shop),
            "group_key": words["group_key"],
            "roles": [roles[role]],
            "tables": sorted(datasets.values()),
        }
        # The rule comes before the right to read, so that no moment shows the rows of every shop.
        if number := rules.get(str(rule["name"])):
            superset.send("PUT", f"rowlevelsecurity/{number}", rule)
        else:
            superset.send("POST", "rowlevelsecurity/", rule)
        superset.send(
            "POST", f"security/roles/{roles[role]}/permissions", {"permission_view_menu_ids": permissions}
        )
        made.append(role)
    return made


def add_login(superset: Superset, shop: str) -> tuple[str, str]:
    """Create a user that sees one shop, and return its name and password. A user that exists gets a new password.

    Raises:
        DeployError: the shop has no role here.
    """
    words = declared()
    roles = {entry["name"]: int(entry["id"]) for entry in superset.every("security/roles/")}
    role = words["role"].format(shop=shop)
    if role not in roles:
        known = [name for name in roles if name.startswith(words["role"].partition("{")[0])]
        raise DeployError(
            f"there is no role {role!r}: choose a shop of the stage ({', '.join(sorted(known))})"
        )
    name, password = f"shop-{shop}", secrets.token_urlsafe(12)
    user = {
        "username": name,
        "first_name": shop,
        "last_name": "shop",
        "email": f"{name}@localhost",
        "active": True,
        "password": password,
        "roles": [roles[role], roles[words["viewer_role"]]],
    }
    known_users = {entry["username"]: entry["id"] for entry in superset.every("security/users/")}
    if name in known_users:
        superset.send("PUT", f"security/users/{known_users[name]}", user)
    else:
        superset.send("POST", "security/users/", user)
    return name, password


def _database(assets: Mapping[str, Asset]) -> str:
    return str(assets["databases/warehouse.yaml"]["database_name"])


def _dataset_ids(superset: Superset, wanted: Mapping[str, Asset]) -> dict[str, int]:
    """Return Superset's number per dataset, found by uuid: another database can have a table of the same name."""
    numbers = {entry["uuid"]: int(entry["id"]) for entry in superset.every("dataset/", "columns:!(id,uuid)")}
    missing = [path for path, asset in wanted.items() if asset["uuid"] not in numbers]
    if missing:
        raise SupersetError(f"Superset lacks {', '.join(missing)}: import the boards first")
    return {str(asset["table_name"]): numbers[asset["uuid"]] for asset in wanted.values()}
