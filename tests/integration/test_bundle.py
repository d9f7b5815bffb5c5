"""The output of `chalice package`: the zip that all Lambdas share, with their handlers."""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deploy import build_layers
from deploy.lambdas import NAMES
from testing import deployment
from tests.missing import missing

REPOSITORY = Path(__file__).resolve().parents[2]
# Heavy packages, which only layers and SageMaker's containers have.
HEAVY = {"agate", "awswrangler", "dbt", "duckdb", "moto", "numpy", "pandas", "pyarrow", "snowflake", "torch"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package the stage local, without credentials or an endpoint, and return the folder."""
    return deployment.package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def bundle(package: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(package / "deployment.zip")


@pytest.fixture(scope="module")
def lambdas(package: Path) -> dict[str, dict[str, Any]]:
    resources = json.loads((package / "sam.json").read_text())["Resources"]
    return {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def test_every_handler_is_a_name_of_app_py_in_the_zip(
    bundle: zipfile.ZipFile, lambdas: dict[str, Any]
) -> None:
    module = ast.parse(bundle.read("app.py"))
    defined = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    defined |= {
        target.id
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert len(lambdas) == len(NAMES)
    for properties in lambdas.values():
        file, _, name = properties["Handler"].partition(".")
        assert file == "app"
        assert name in defined


def test_the_zip_holds_functions_sql_and_the_storefront_s_scripts_as_they_are(
    bundle: zipfile.ZipFile,
) -> None:
    there = set(bundle.namelist())
    for folder, pattern in (
        ("experiments", "*.toml"),
        ("functions", "*.py"),
        ("functions", "*.jinja"),
        ("sql", "*.sql"),
        ("storefront/dist", "*.js"),
    ):
        for file in (REPOSITORY / folder).rglob(pattern):
            name = file.relative_to(REPOSITORY).as_posix()
            if not name.startswith(("sql/target/", "sql/dbt_packages/")):
                assert name in there
                assert bundle.read(name) == file.read_bytes()


def test_nothing_heavy_is_in_the_zip(bundle: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in bundle.namelist()} & HEAVY == set()


def test_nothing_of_this_machine_or_of_training_is_in_the_zip(bundle: zipfile.ZipFile) -> None:
    outside = {"local", "demo", "training_jobs", "tests", "statemachine", "deploy", "benchmarks"}
    assert {name.split("/")[0] for name in bundle.namelist()} & outside == set()
    storefront = {name for name in bundle.namelist() if name.startswith("storefront/") and name[-1] != "/"}
    assert storefront == {"storefront/dist/tugboat.js", "storefront/dist/tugboat-carousel.js"}
    assert not [name for name in bundle.namelist() if name.endswith(".pyc") or name.startswith("sql/target/")]


def test_the_zip_leaves_room_for_the_layers(bundle: zipfile.ZipFile, package: Path) -> None:
    unzipped_bytes = sum(entry.file_size for entry in bundle.infolist())
    assert unzipped_bytes < build_layers.FUNCTION_MAX_BYTES
    assert (package / "deployment.zip").stat().st_size < build_layers.DIRECT_UPLOAD_MAX_BYTES


@pytest.mark.parametrize("name", build_layers.NAMES)
def test_a_layer_and_the_zip_fit_into_a_lambda_together(bundle: zipfile.ZipFile, name: str) -> None:
    layer = build_layers.built(name)
    if layer is None:
        missing(f"the layer {name}", f"python -m deploy.build_layers --build {name}")
    zip_bytes = sum(entry.file_size for entry in bundle.infolist())
    print(f"{name}: {layer.unzipped_bytes:,} + {zip_bytes:,} of {build_layers.UNZIPPED_MAX_BYTES:,} bytes")
    assert layer.unzipped_bytes + zip_bytes <= build_layers.UNZIPPED_MAX_BYTES


def test_compiled_code_in_the_zip_is_for_lambda_s_platform(bundle: zipfile.ZipFile) -> None:
    compiled = [name for name in bundle.namelist() if name.endswith(".so")]
    assert all("cpython-311-x86_64-linux-gnu" in name for name in compiled)


def test_every_lambda_is_traced_and_none_has_a_generated_policy(lambdas: dict[str, Any]) -> None:
    assert {properties["Tracing"] for properties in lambdas.values()} == {"Active"}
    config = json.loads((REPOSITORY / ".chalice" / "config.json").read_text())
    assert config["autogen_policy"] is False
    assert config["automatic_layer"] is False


def test_the_handlers_import_nothing_heavy_at_the_start(bundle: zipfile.ZipFile, tmp_path: Path) -> None:
    """Import app.py in a bare interpreter with the zip alone, as a cold start does."""
    bundle.extractall(tmp_path)
    code = "import sys, json; import app; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded & HEAVY == set()
    assert "boto3" not in loaded
