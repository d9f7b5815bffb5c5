"""Roles and rules of shops, against a Superset that keeps them in memory."""

from typing import Any

import pytest

from dashboards import access, assets
from dashboards.superset_api import Superset, SupersetError
from deploy.command import DeployError

OWN = assets.read()
SHOP_TABLES = {asset["table_name"] for asset in assets.shop_datasets(OWN).values()}


class FakeSuperset(Superset):
    """Superset's lists of roles, rules, permissions, users and datasets, and the order of what was sent."""

    def __init__(self) -> None:
        super().__init__("http://superset.test")
        datasets = [asset for path, asset in OWN.items() if assets.kind_of(path) == "datasets"]
        self.lists: dict[str, list[dict[str, Any]]] = {
            "dataset/": [{"id": n, "uuid": one["uuid"]} for n, one in enumerate(datasets, 11)],
            "security/permissions-resources/": [
                {
                    "id": n + 100,
                    "permission": {"name": "datasource_access"},
                    "view_menu": {"name": f"[Tugboat].[{one['table_name']}](id:{n})"},
                }
                for n, one in enumerate(datasets, 11)
            ],
            "security/roles/": [{"id": 1, "name": "Gamma"}],
            "rowlevelsecurity/": [],
            "security/users/": [],
        }
        self.granted: dict[int, list[int]] = {}
        self.sent: list[tuple[str, str]] = []

    def every(self, path: str, query: str = "") -> list[dict[str, Any]]:
        return self.lists[path]

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        assert body is not None
        self.sent.append((method, path))
        if path.endswith("/permissions"):
            self.granted[int(path.split("/")[2])] = body["permission_view_menu_ids"]
            return {}
        if method == "PUT":
            list_, _, number = path.rpartition("/")
            (found,) = [one for one in self.lists[f"{list_}/"] if one["id"] == int(number)]
            found.update(body)
            return {}
        made = {"id": 200 + len(self.sent), **body}
        self.lists[path].append(made)
        return made


def test_every_shop_has_a_role_with_a_rule_on_each_of_its_datasets() -> None:
    superset = FakeSuperset()
    assert access.sync(superset, OWN, ["demo", "other"]) == ["Tugboat shop demo", "Tugboat shop other"]
    first, second = superset.lists["rowlevelsecurity/"]
    assert (first["clause"], second["clause"]) == ("shop_id = 'demo'", "shop_id = 'other'")
    assert first["group_key"] == second["group_key"]
    assert len(first["tables"]) == len(SHOP_TABLES)
    names = {
        entry["id"]: entry["view_menu"]["name"] for entry in superset.lists["security/permissions-resources/"]
    }
    for permissions in superset.granted.values():
        assert {names[one].split("[")[2].split("]")[0] for one in permissions} == SHOP_TABLES
    assert "LOADS" not in SHOP_TABLES


def test_a_second_call_corrects_and_adds_nothing() -> None:
    superset = FakeSuperset()
    access.sync(superset, OWN, ["demo"])
    superset.lists["rowlevelsecurity/"][0]["clause"] = "1 = 1"
    before = {name: len(entries) for name, entries in superset.lists.items()}
    access.sync(superset, OWN, ["demo"])
    assert {name: len(entries) for name, entries in superset.lists.items()} == before
    assert superset.lists["rowlevelsecurity/"][0]["clause"] == "shop_id = 'demo'"


def test_the_rule_comes_before_the_right_to_read() -> None:
    superset = FakeSuperset()
    access.sync(superset, OWN, ["demo"])
    paths = [path for _, path in superset.sent]
    assert paths.index("rowlevelsecurity/") < next(
        n for n, path in enumerate(paths) if path.endswith("/permissions")
    )


def test_a_shop_that_would_end_the_clause_is_refused() -> None:
    with pytest.raises(DeployError, match="no id of a shop"):
        access.sync(FakeSuperset(), OWN, ["x' or '1'='1"])


def test_without_an_import_nothing_is_granted() -> None:
    superset = FakeSuperset()
    superset.lists["dataset/"] = []
    with pytest.raises(SupersetError, match="import the boards first"):
        access.sync(superset, OWN, ["demo"])
    assert superset.sent == []


def test_a_login_of_a_shop_has_its_role_and_the_viewer_s_and_a_new_password_each_time() -> None:
    superset = FakeSuperset()
    access.sync(superset, OWN, ["demo"])
    name, password = access.add_login(superset, "demo")
    (user,) = superset.lists["security/users/"]
    roles = {entry["id"]: entry["name"] for entry in superset.lists["security/roles/"]}
    assert {roles[one] for one in user["roles"]} == {"Gamma", "Tugboat shop demo"}
    again, other = access.add_login(superset, "demo")
    assert (again, len(superset.lists["security/users/"])) == (name, 1)
    assert other != password


def test_a_login_of_an_unknown_shop_names_the_known_ones() -> None:
    superset = FakeSuperset()
    access.sync(superset, OWN, ["demo"])
    with pytest.raises(DeployError, match="Tugboat shop demo"):
        access.add_login(superset, "nobody")
