"""Names of a shop's resources: legal for SageMaker, and different for every two shops."""

import re

from hypothesis import given
from hypothesis import strategies as st

from functions.platform.endpoint import endpoint_names
from functions.platform.run_names import release_name, release_prefix
from functions.platform.shop_names import SHORT_MAX_CHARACTERS, short_name

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
SHOPS = st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z")
LONGEST_PREFIX = "tugboat-" + "s" * 16
RUN = "20261129-1a2b3c4d5e6f"


def test_a_short_lower_case_id_is_the_name_itself() -> None:
    assert [short_name(shop) for shop in ("demo", "shop-2", "a")] == ["demo", "shop-2", "a"]


def test_an_id_that_a_name_cannot_contain_gets_a_hash() -> None:
    for shop in (
        "Demo",
        "demo.de",
        "demo_de",
        "a-very-long-name-of-a-shop",
        "x-candidate",
        "realtime",
        "demo-",
    ):
        assert short_name(shop) != shop
        assert re.fullmatch(r"([a-z0-9-]+-)?[0-9a-f]{6}", short_name(shop))


@given(SHOPS)
def test_every_name_of_a_shop_is_legal(shop: str) -> None:
    assert len(short_name(shop)) <= SHORT_MAX_CHARACTERS
    names = (*endpoint_names(LONGEST_PREFIX, shop), release_name(LONGEST_PREFIX, shop, RUN))
    for name in names:
        assert NAME.fullmatch(name), name
        assert len(name) <= 63
    assert release_name(LONGEST_PREFIX, shop, RUN).endswith(RUN), "nothing of the run is cut off"


@given(SHOPS, SHOPS)
def test_no_two_shops_share_a_name(one: str, other: str) -> None:
    """SageMaker compares names without regard to case. Equal short names are refused by deploy/stages.py."""
    if one == other or short_name(one) == short_name(other):
        return
    assert not set(endpoint_names("tugboat-prod", one)) & set(endpoint_names("tugboat-prod", other))
    assert not release_name("tugboat-prod", one, RUN).startswith(release_prefix("tugboat-prod", other))
