"""A Lambda has a handler, a declaration and a policy. A forgotten one fails with a sentence that names it."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy import chalice_config, lambdas, layer_versions
from deploy.stages import STAGES_FILE, read_stage

REPOSITORY = Path(__file__).resolve().parents[3]
APP = (REPOSITORY / "app.py").read_text()
POLICIES = [path.name for path in (REPOSITORY / ".chalice").glob("policy-*.json")]
LOCAL = read_stage("local")


def forgotten(app: str, declared: Iterable[str], policies: Iterable[str]) -> list[str]:
    """Return one sentence per forgotten place."""
    handlers = {"api_handler", *re.findall(r'(?:app\.lambda_function|= step)\(name="(\w+)"\)', app)}
    stages = "|".join(re.findall(r"^\[(\w+)\]$", STAGES_FILE.read_text(), re.MULTILINE))
    written = {re.sub(rf"^policy-|(-({stages}))?\.json$", "", file) for file in policies}
    declared = set(declared)
    return [
        *(
            f"app.py has the Lambda {name}, which LAMBDAS of deploy/lambdas.py lacks: declare it there"
            for name in sorted(handlers - declared)
        ),
        *(
            f"deploy/lambdas.py declares the Lambda {name}, for which app.py has no handler: "
            f'add {name} = step(name="{name}")(wiring.{name}), or remove the declaration'
            for name in sorted(declared - handlers)
        ),
        *(
            f"the Lambda {name} has no policy: python -m deploy.chalice_config --stage local"
            for name in sorted(declared - written)
        ),
        *(
            f".chalice/policy-{name}.json belongs to no Lambda of deploy/lambdas.py: delete it"
            for name in sorted(written - declared)
        ),
    ]


def test_every_lambda_has_a_handler_a_declaration_and_a_policy() -> None:
    assert forgotten(APP, lambdas.NAMES, POLICIES) == []


def test_a_forgotten_declaration_is_named() -> None:
    [handler, policy] = forgotten(APP, [name for name in lambdas.NAMES if name != "load"], POLICIES)
    assert handler == "app.py has the Lambda load, which LAMBDAS of deploy/lambdas.py lacks: declare it there"
    assert policy.startswith(".chalice/policy-load.json belongs to no Lambda")


def test_a_forgotten_handler_is_named() -> None:
    [sentence] = forgotten(APP.replace('name="load"', 'name="api_handler"'), lambdas.NAMES, POLICIES)
    assert sentence.startswith("deploy/lambdas.py declares the Lambda load, for which app.py has no handler")


def test_a_forgotten_policy_is_named_and_written_before_a_deployment(tmp_path: Path) -> None:
    [sentence] = forgotten(APP, lambdas.NAMES, [name for name in POLICIES if name != "policy-load.json"])
    assert sentence == "the Lambda load has no policy: python -m deploy.chalice_config --stage local"
    for path in (REPOSITORY / ".chalice").glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "policy-load.json").unlink()
    arns = layer_versions.arns(LOCAL, LOCAL.account_id)
    assert chalice_config.write(LOCAL, LOCAL.account_id, arns, tmp_path) == [tmp_path / "policy-load.json"]
    committed = REPOSITORY / ".chalice" / "policy-load.json"
    assert (tmp_path / "policy-load.json").read_text() == committed.read_text()


def test_a_policy_changed_by_hand_is_written_again(tmp_path: Path) -> None:
    for path in (REPOSITORY / ".chalice").glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text().replace("s3:PutObject", "s3:*"))
    arns = layer_versions.arns(LOCAL, LOCAL.account_id)
    written = chalice_config.write(LOCAL, LOCAL.account_id, arns, tmp_path)
    assert tmp_path / "policy-export.json" in written
    assert not any("s3:*" in path.read_text() for path in tmp_path.glob("policy-*.json"))


def test_the_policies_of_another_stage_belong_to_the_same_lambdas() -> None:
    assert forgotten(APP, lambdas.NAMES, [*POLICIES, "policy-load-dev.json"]) == []


def test_an_outdated_configuration_is_named_with_the_command_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (REPOSITORY / ".chalice").glob("*.json"):
        (tmp_path / path.name).write_text(
            path.read_text().replace('"lambda_timeout": 29', '"lambda_timeout": 28')
        )
    monkeypatch.setattr(chalice_config, "REPOSITORY", tmp_path)
    monkeypatch.setattr(chalice_config, "FOLDER", tmp_path)
    assert chalice_config.main(["--stage", "local", "--check"]) == 1
    assert "python -m deploy.chalice_config --stage local" in capsys.readouterr().err
    assert chalice_config.main(["--stage", "local"]) == 0
    assert (tmp_path / "config.json").read_text() == (REPOSITORY / ".chalice" / "config.json").read_text()
    assert chalice_config.main(["--stage", "local", "--check"]) == 0


def test_a_stage_whose_account_is_not_known_is_refused_with_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert chalice_config.main(["--stage", "dev", "--check"]) == 1
    assert "stage dev has no account_id" in capsys.readouterr().err


@pytest.mark.parametrize("one", lambdas.LAMBDAS, ids=lambda one: one.name)
def test_a_lambda_is_within_the_limits_of_its_service(one: lambdas.Lambda) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html; API Gateway waits 29 s.
    assert 128 <= one.memory_mb <= 10_240
    assert one.timeout_s <= (29 if one.name == "api_handler" else 900)
