from importlib.metadata import version

import pytest

from local.aws.settings import PINS


@pytest.mark.parametrize(("package", "pin"), PINS.items())
def test_the_patches_were_written_for_what_is_installed(package: str, pin: str) -> None:
    assert version(package) == pin, (
        f"{package} moved. Read the comments in local/aws, run tests/integration/local, then move the pin in PINS."
    )
