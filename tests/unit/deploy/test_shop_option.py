"""The shop of a command: the only one by default, and never a guess among several."""

from dataclasses import replace

import pytest

from deploy.shop_option import WrongShop, chosen_shop
from deploy.stages import read_stage

ONE = read_stage("local")
TWO = replace(ONE, trained_shops=["demo", "own"])


def test_a_stage_with_one_trained_shop_needs_no_name() -> None:
    assert chosen_shop(ONE, None) == "demo"


def test_a_shop_that_has_data_only_now_and_then_can_be_named() -> None:
    assert chosen_shop(ONE, "serenade") == "serenade"


def test_with_several_shops_the_message_lists_them() -> None:
    with pytest.raises(WrongShop, match="several shops: add SHOP= one of demo, own"):
        chosen_shop(TWO, None)
    assert chosen_shop(TWO, "own") == "own"


def test_an_unknown_shop_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WrongShop, match=r"no shop 'dmeo': use SHOP= one of demo, serenade"):
        chosen_shop(ONE, "dmeo")
