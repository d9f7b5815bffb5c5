"""A fact of contracts/ stands in contracts/ and in generated files, and nowhere else."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import contracts
from contracts.generate import TARGETS

REPOSITORY = contracts.REPOSITORY
READERS = (
    "app.py",
    "benchmarks",
    "clients",
    "demo",
    "deploy",
    "functions",
    "imports",
    "sql",
    "storefront",
    "testing",
    "training_jobs",
)
GENERATED = {*TARGETS, "storefront/sdk/tugboat.d.ts"}
KINDS = set(contracts.event_kinds())
NAMES = contracts.read("names")
MEMBERS = set(NAMES["archive"].values())
KEYS = set(NAMES["s3"].values())
COLUMNS = {name for table in contracts.read("snapshot").values() for name in table}
# A constant with such a name and a value of the contract repeats a limit.
LIMIT_NAME = re.compile(
    r"(^|_)(ITEMS?|EXCLUDED?|IDS?|TEXT|ADDRESS|EVENTS|K|CARDS|BODY|DEPTH)_.*(MAX|LENGTH|LIMIT)|^K_|MAX_ID"
)

# Repeats that are meant, each with its reason.
ALLOWED = {
    (
        "functions/platform/s3_keys.py",
        "the archive member /fallback.json",
    ): "the object of a shop that is made of the archive's member of the same name",
    (
        "deploy/adopt_release.py",
        "the archive member serving/fallback.json",
    ): "the object of a stage from before it could serve several shops",
    (
        "demo/generator.py",
        "event kinds",
    ): "the kinds that the generated shop sends, and their order within a session",
    ("imports/own_rows.py", "event kinds"): "the names that public click logs have for some kinds",
    ("demo/shop/static/walk.js", "event kinds"): "the two steps that the tour of the shop waits for",
    (
        "benchmarks/journey.sql",
        "event kinds",
    ): "a reference of its own, which the dbt models are compared with",
    ("benchmarks/soak_client.py", "event kinds"): "the mix of kinds of the load",
    ("benchmarks/growth_shop.py", "event kinds"): "the mix of kinds of the growing shop",
    (
        "functions/recommend/batch.py",
        "the column ITEM_ID",
    ): "the tables of a batch, which sql/setup declares, are no snapshot",
    ("functions/recommend/batch.py", "the column SHOP_ID"): "the same",
}


def limits() -> set[int]:
    """Return every number of limits.json and every bound of the event schema."""
    schema = contracts.read("event.schema")
    bounds = {"maxLength", "maxItems", "minimum", "maximum"}
    found = {value for group in contracts.read("limits").values() for value in group.values()}

    def walk(node: object) -> None:
        if isinstance(node, dict):
            found.update(value for key, value in node.items() if key in bounds)
            for value in node.values():
                walk(value)

    walk(schema)
    return found | {contracts.id_max_characters()}


LIMITS = limits()
# Smaller numbers have other meanings too. They count as repeats only under a limit's name.
DISTINCTIVE = {value for value in LIMITS if value > 10**11}


def tracked(*suffixes: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *READERS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        name
        for name in listed.stdout.split()
        if name.endswith(suffixes) and name not in GENERATED and not name.startswith("storefront/dist/")
    ]


def python_repeats(source: str) -> Iterator[str]:
    """Yield what a module repeats of the contracts."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            parts = [*node.keys, *node.values] if isinstance(node, ast.Dict) else node.elts
            if len({part.value for part in parts if isinstance(part, ast.Constant)} & KINDS) > 1:
                yield "event kinds"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from text_repeats(node.value)
        if isinstance(node, ast.Constant) and node.value in DISTINCTIVE:
            yield f"the limit {node.value}"
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and node.value.value in LIMITS
        ):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            yield from (f"the limit {name}" for name in names if LIMIT_NAME.search(name))


def text_repeats(text: str) -> Iterator[str]:
    """Yield what a string repeats: an archive member, a prefix or key on S3, or a column of the snapshot."""
    if text in MEMBERS or text.rsplit("/", 1)[-1] in MEMBERS:
        yield f"the archive member {text}"
    if text in COLUMNS:
        yield f"the column {text}"
    for key in KEYS:
        if text.startswith(key) or ("s3://" in text and f"/{key}" in text):
            yield f"the S3 key {key}"


def javascript_repeats(source: str) -> Iterator[str]:
    for array in re.findall(r"\[[^\[\]]*\]", source):
        if len(set(re.findall(r'"(\w+)"', array)) & KINDS) > 1:
            yield "event kinds"
    for name, value in re.findall(r"const (\w+) = ([\d_]+);", source):
        if LIMIT_NAME.search(name) and int(value) in LIMITS:
            yield f"the limit {name}"
    if contracts.read("event.schema")["definitions"]["id"]["pattern"] in source:
        yield "the pattern of ids"


def sql_repeats(source: str) -> Iterator[str]:
    for listed in re.findall(r"\bin\s*\(([^)]*)\)", source, re.IGNORECASE):
        if len(set(re.findall(r"'(\w+)'", listed)) & KINDS) > 1:
            yield "event kinds"


FINDERS = {".py": python_repeats, ".js": javascript_repeats, ".sql": sql_repeats}


@pytest.mark.parametrize(
    ("suffix", "source", "repeat"),
    [
        (".py", 'SEEN = ("view_item", "purchase")', "event kinds"),
        (".py", 'WEIGHT = {"view_item": 1, "purchase": 3}', "event kinds"),
        (".py", 'path = directory / "golden.json"', "the archive member golden.json"),
        (".py", 'key = f"raw/{day}/"', "the S3 key raw/"),
        (".py", 'table["SESSION_ID"]', "the column SESSION_ID"),
        (".py", "EARLIEST_MS = 946_684_800_000", "the limit 946684800000"),
        (".py", "ITEMS_MAX = 50", "the limit ITEMS_MAX"),
        (".js", "const SESSION_ITEMS_MAX = 50;", "the limit SESSION_ITEMS_MAX"),
        (".js", 'const SEEN = ["view_item", "add_to_cart"];', "event kinds"),
        (".js", r"/^[^\x00-\x1f\x7f]{1,64}$/.test(id)", "the pattern of ids"),
        (".sql", "where event_name in ('view_item', 'purchase')", "event kinds"),
    ],
)
def test_a_repeat_is_found(suffix: str, source: str, repeat: str) -> None:
    assert repeat in list(FINDERS[suffix](source))


def test_no_file_repeats_a_fact_of_the_contracts() -> None:
    found = {
        (name, repeat)
        for name in tracked(*FINDERS)
        if (REPOSITORY / name).exists()
        for repeat in FINDERS[Path(name).suffix]((REPOSITORY / name).read_text())
    }
    assert found - ALLOWED.keys() == set(), "read it from the generated module, or from contracts"
    assert ALLOWED.keys() - found == set(), "delete the exceptions that nothing needs"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        (
            "statemachine/resources.yaml",
            r"""[Pp]refix: "?([a-z]+/)|Arn\}/([a-z]+/)|"s3:prefix": \["([a-z]+/)""",
        ),
        ("statemachine/pipeline.asl.json", r"\{ModelsBucket\}/([a-z]+/)"),
        ("sql/setup/3_stages.sql", r"_bucket \}\}/([a-z]+/)"),
    ],
)
def test_a_file_that_cannot_read_the_contract_names_only_its_prefixes(name: str, pattern: str) -> None:
    text = (REPOSITORY / name).read_text()
    prefixes = {group for found in re.finditer(pattern, text) for group in found.groups() if group}
    assert prefixes
    assert {prefix for prefix in prefixes if not any(key.startswith(prefix) for key in KEYS)} == set()


def test_the_endpoint_accepts_every_request_that_recommend_accepts() -> None:
    recommend, endpoint = (contracts.read("limits")[name] for name in ("recommend", "endpoint"))
    assert {
        name for name in ("items_max", "exclude_max", "k_max") if recommend[name] > endpoint[name]
    } == set()
    assert contracts.id_max_characters() <= endpoint["id_max_characters"]
