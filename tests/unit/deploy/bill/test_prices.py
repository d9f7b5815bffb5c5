"""The price lists, and what is said where a price is missing."""

import json
from pathlib import Path

import pytest

from deploy.bill.prices import FOLDER, PriceUnknown, or_default, read_prices, usd_text
from deploy.stages import FOLDER as DEPLOY
from deploy.stages import read_stage

PRICES = read_prices("us-east-1")


def test_every_price_has_a_unit_a_source_and_a_date() -> None:
    assert PRICES.as_of == "2026-11-29"
    for name, price in PRICES.prices.items():
        assert price.unit, name
        assert price.source.startswith("https://"), name
        assert all(usd > 0 for _, usd in price.tiers), name


def test_the_file_of_a_list_names_its_vendor_region_and_date() -> None:
    for path in FOLDER.glob("*.json"):
        content = json.loads(path.read_text())
        assert path.stem == f"{content['vendor']}-{content['region']}-{content['as_of']}"


def test_tiers_are_paid_one_after_the_other() -> None:
    price = PRICES["transfer.out_gb"]
    # 10 TB at $0.09, and 1,000 GB at $0.085.
    assert price.usd(11_240) == pytest.approx(10_240 * 0.09 + 1_000 * 0.085)
    assert price.text(100) == "$0.09"
    assert "on average of the tiers" in price.text(11_240)


def test_the_newest_list_of_a_region_counts(tmp_path: Path) -> None:
    for path in FOLDER.glob("*-us-east-1-*.json"):
        content = json.loads(path.read_text())
        (tmp_path / path.name).write_text(json.dumps(content))
        content["prices"] = {
            name: {**price, "usd": 9.0} for name, price in content["prices"].items() if "usd" in price
        }
        (tmp_path / f"{path.stem[:-10]}2027-01-01.json").write_text(json.dumps(content))
    found = read_prices("us-east-1", tmp_path)
    assert found.as_of == "2027-01-01"
    assert found.credit.usd(1) == 9.0


def test_a_region_without_a_list_is_refused_with_what_to_write() -> None:
    with pytest.raises(PriceUnknown) as refused:
        read_prices("mars-north-1")
    assert "copy the list of us-east-1 to aws-mars-north-1-<today>.json" in str(refused.value)
    assert "--prices us-east-1" in str(refused.value)
    assert or_default("mars-north-1").region == "us-east-1"


def test_a_missing_price_is_refused_with_the_file_to_add_it_to() -> None:
    with pytest.raises(PriceUnknown) as refused:
        PRICES.instance("ml.p9.xlarge")
    assert "sagemaker.ml.p9.xlarge" in str(refused.value)
    assert "deploy/bill/prices/" in str(refused.value)


def test_the_instances_that_the_repository_recommends_have_prices() -> None:
    for name in ("local", "dev", "prod"):
        stage = read_stage(name, DEPLOY / "stages.toml")
        for kind in (
            stage.training_instance_type,
            stage.processing_instance_type,
            stage.endpoint_instance_type,
            "ml.g5.12xlarge",
        ):
            assert PRICES.instance(kind).usd(1) > 0


def test_a_price_is_written_without_an_exponent() -> None:
    assert usd_text(3.5e-6) == "$0.0000035"
    assert usd_text(0.023) == "$0.023"
    assert usd_text(3.0) == "$3"
    assert usd_text(20.0) == "$20"
