"""The recorded containers, and the list of the SDK that records them."""

import json
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy import lock
from deploy.stages import IMAGES_FILE
from deploy.training_images import INSTANCE_TYPES, VERSION

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGES: dict[str, dict[str, str]] = json.loads(IMAGES_FILE.read_text())
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("region", IMAGES)
def test_a_region_has_a_container_per_kind_in_its_own_registry(region: str) -> None:
    assert IMAGES[region].keys() == INSTANCE_TYPES.keys()
    assert all(f".dkr.ecr.{region}." in address for address in IMAGES[region].values())


def test_the_containers_have_the_torch_of_the_training_extra() -> None:
    (torch,) = [one for one in map(Requirement, PROJECT["train"]) if one.name == "torch"]
    assert f"{torch.specifier}".removeprefix("==").startswith(f"{VERSION}.")
    assert all(f":{VERSION}-" in address for of in IMAGES.values() for address in of.values())


def test_the_list_of_the_sdk_fits_the_extra_and_has_hashes() -> None:
    pins = lock.pins((REPOSITORY / "deploy" / "sagemaker_sdk.txt").read_text())
    for requirement in map(Requirement, PROJECT["deploy"]):
        assert requirement.specifier.contains(pins[requirement.name].version)
    assert [name for name, pin in pins.items() if not pin.hashes] == []
