"""Orders in other currencies: the back end's are judged, those of pages are reported."""

from functions.validate.currencies import ShopOrders, currency_checks
from functions.validate.thresholds import thresholds


def check(orders: ShopOrders) -> tuple[str, str]:
    (found,) = currency_checks({"demo": orders}, thresholds())
    return found.verdict, found.reason


def test_the_back_ends_orders_in_another_currency_fail_the_check_and_name_the_setting() -> None:
    verdict, reason = check(
        ShopOrders("EUR", 100, 50, others=10, confirmed_others=10, amounts={"JPY": 15_000.0})
    )
    assert verdict == "failed"
    assert reason == (
        "10 of 100 recent orders of shop demo are in other currencies than EUR (JPY 15,000.00) and are no revenue. "
        "Set currencies in deploy/stages.toml, or send EUR. Of the back end's orders, these are 20.0%; 5% is allowed."
    )


def test_a_pages_claims_are_reported_and_stop_nothing() -> None:
    verdict, reason = check(ShopOrders("EUR", 1000, 0, others=900, amounts={"JPY": 15_000.0}))
    assert verdict == "skipped"
    assert "900 of 1000 recent orders" in reason
    assert "JPY 15,000.00" in reason


def test_a_shop_of_one_currency_passes() -> None:
    assert check(ShopOrders("EUR", 100, 50))[0] == "passed"
