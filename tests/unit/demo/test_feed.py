"""The generated shop's feed has every item of the events, and the import takes all of it."""

from demo import feed
from demo.generator import History, catalogue_of
from testing.fakes import FakeS3


def test_every_item_of_the_generated_shop_is_a_product_of_its_feed() -> None:
    items = catalogue_of(History(events=4000)).event_items()
    imported = feed.import_items(items, "demo", FakeS3(), "events")
    assert imported.counts.products == imported.counts.rows == len(items) > 100
    assert imported.is_new
