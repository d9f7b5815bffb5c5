"""The coarse origin of a request."""

import pytest

from functions.collect.origin import origin

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148 Safari/604.1"
IPAD = "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 Version/16.0 Mobile/15E148 Safari/604.1"
ANDROID_PHONE = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/119.0 Mobile Safari/537.36"
)
ANDROID_TABLET = "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 Chrome/119.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:120.0) Gecko/20100101 Firefox/120.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (IPHONE, "mobile"),
        (IPAD, "tablet"),
        (ANDROID_PHONE, "mobile"),
        (ANDROID_TABLET, "tablet"),
        (FIREFOX, "desktop"),
        ("", "other"),
    ],
)
def test_a_device_is_one_of_four_classes(user_agent: str, device: str) -> None:
    assert origin(None, user_agent).device == device


def test_a_crawler_is_a_bot_and_a_browser_is_not() -> None:
    assert origin(None, GOOGLEBOT).is_bot
    assert not any(
        origin(None, agent).is_bot for agent in (IPHONE, IPAD, ANDROID_PHONE, ANDROID_TABLET, FIREFOX)
    )


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("not an address", None),
        (None, None),
    ],
)
def test_an_address_is_cut_to_its_network(address: str | None, prefix: str | None) -> None:
    assert origin(address, FIREFOX).ip_prefix == prefix
