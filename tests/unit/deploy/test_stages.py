"""stages.toml and training_images.json: a wrong key or value is refused, with the file, the table and the next step."""

import dataclasses
import json
from pathlib import Path

import pytest

from deploy import stages, template
from deploy.stages import STAGES_FILE, StageError, read_stage

LOCAL = read_stage("local")


def test_an_unknown_stage_is_refused_with_the_known_ones() -> None:
    with pytest.raises(stages.StageError, match="use one of dev, local, prod"):
        read_stage("staging")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "endpoint_memory_mb = '3072'",
            r"\[prod\] has endpoint_memory_mb = '3072'. Input should be 1024, 2048",
        ),
        ("events_buffer_seconds = '5'", "events_buffer_seconds = '5'. Input should be a valid integer"),
        (
            "use_spots = 1",
            r"\[prod\] has the unknown key use_spots. Allowed are .* transform_warehouse_size, use_spot",
        ),
        ("events_buffer_seconds = 901", "less than or equal to 900"),
        ("log_retention_days = 31", "Input should be 1, 3, 5, 7, 14, 30"),
        ("notification_email = 'me'", "notification_email = 'me'. Use an address such as"),
        ("endpoint_kind = 'batch'", "Input should be 'serverless' or 'realtime'"),
        ("schedule = 'nightly'", "schedule = 'nightly'"),
        ("shops = {}", "name at least one shop"),
        ("shops = { demo = 'key' }", "'demo' no list of keys"),
        ("shops = { demo = ['short'] }", "8 to 64 letters"),
        ("shops = { 'a,b' = ['long-enough'] }", "shop id 'a,b'"),
        ("shops = { a = ['long-enough'], b = ['long-enough'] }", "a key twice"),
        (
            "shops = { Demo = ['key-of-one'], demo-8a2cc0 = ['key-of-two'] }",
            "Demo and demo-8a2cc0, whose endpoints would have the same name",
        ),
        (
            f"shops = {{ {'a' * 50}b = ['key-of-one'], {'a' * 50}c = ['key-of-two'] }}",
            "two shops with the same first 50 characters",
        ),
        ("trained_shops = ['demmo']", "trained_shops of demmo, which is no shop of it. Its shops are demo"),
        ("trained_shops = ['demo', 'demo']", "a shop twice in trained_shops"),
        (
            "gate = { demo = { minimum_hits = 1 } }",
            "wrong bounds in gate of demo: .*unknown key minimum_hits",
        ),
        ("gate = { demo = { 'margin.hr_at_20' = 'x' } }", "has gate = "),
        ("hyperparameters = { demo = 5 }", "has hyperparameters = "),
    ],
)
def test_a_wrong_value_in_stages_toml_is_refused(tmp_path: Path, line: str, message: str) -> None:
    copy = tmp_path / "stages.toml"
    others, _, prod = stages.STAGES_FILE.read_text().partition("[prod]\n")
    key = line.split(" = ")[0]
    kept = [own for own in prod.splitlines() if not own.startswith(f"{key} =")]
    copy.write_text("\n".join([others, "[prod]", line, *kept]))
    with pytest.raises(stages.StageError, match=message) as failure:
        read_stage("prod", copy)
    assert str(copy) in str(failure.value)


def test_a_default_that_is_misspelt_is_refused_with_its_table_and_so_is_a_missing_one(tmp_path: Path) -> None:
    copy = tmp_path / "stages.toml"
    copy.write_text(stages.STAGES_FILE.read_text().replace("api_latency_ms =", "api_latency ="))
    with pytest.raises(stages.StageError) as failure:
        read_stage("dev", copy)
    assert "[default] has the unknown key api_latency." in str(failure.value)
    assert "[default] has no api_latency_ms. Add it there" in str(failure.value)


def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    copy = tmp_path / "stages.toml"
    copy.write_text("[default]\nregion = us-east-1\n")
    with pytest.raises(stages.StageError, match=r"not valid TOML.*line 2"):
        read_stage("dev", copy)


@pytest.mark.parametrize("name", ["Dev", "d", "2dev", "my-dev", "d" * 17])
def test_a_stage_name_that_aws_names_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "stages.toml"
    copy.write_text(stages.STAGES_FILE.read_text() + f'\n["{name}"]\n')
    with pytest.raises(stages.StageError, match="2 to 16 lower-case letters"):
        read_stage(name, copy)


def test_stages_toml_and_the_template_have_the_same_limits() -> None:
    parameters = template.load_resources()["Parameters"]
    assert parameters["Stage"]["AllowedPattern"] == stages.STAGE_NAME.pattern
    bounds = {
        "EventsBufferSeconds": ("events_buffer_seconds", "MinValue", "MaxValue"),
        "EventsBufferMegabytes": ("events_buffer_megabytes", "MinValue", "MaxValue"),
        "NoEventsHours": ("no_events_hours", "MinValue", "MaxValue"),
    }
    for parameter, (key, *limits) in bounds.items():
        lowest, highest = (parameters[parameter][limit] for limit in limits)
        for value in (lowest, highest):
            assert getattr(dataclasses.replace(LOCAL, **{key: value}), key) == value
        for value in (lowest - 1, highest + 1):
            with pytest.raises(ValueError, match=key):
                dataclasses.replace(LOCAL, **{key: value})


@pytest.mark.parametrize("name", ["local", "dev", "prod"])
def test_every_stage_has_images_for_its_region(name: str) -> None:
    stage = read_stage(name)
    assert stages.training_image(stage).startswith("763104351884.dkr.ecr.")
    assert (
        "cu" in stages.training_image(stage).rpartition(":")[2]
    ) == stage.training_instance_type.startswith("ml.g")


def test_a_shop_without_a_key_stops_a_deployment_and_is_offered_one() -> None:
    with pytest.raises(stages.StageError, match=r'\[dev\.shops\]\n    demo = \["[\w-]{24}"\]'):
        stages.require_keys(read_stage("dev"))
    stages.require_keys(LOCAL)


def test_a_region_that_was_not_looked_up_is_refused_with_the_command(tmp_path: Path) -> None:
    images = tmp_path / "training_images.json"
    images.write_text(json.dumps({}))
    stage = dataclasses.replace(LOCAL, region="eu-west-1")
    with pytest.raises(stages.StageError, match=r"no containers of region eu-west-1.*make training-images"):
        stages.training_image(stage, images)


def test_a_file_of_another_encoding_is_named_and_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_bytes("# Möbel\n".encode("latin-1") + STAGES_FILE.read_bytes())
    with pytest.raises(StageError, match=r"is not UTF-8: .* Save it as UTF-8"):
        read_stage("dev", file)
    file.write_bytes(b"\xef\xbb\xbf" + STAGES_FILE.read_bytes())
    assert read_stage("dev", file).name == "dev"
    assert stages.stage_names(file) == stages.stage_names()
