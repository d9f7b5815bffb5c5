"""Merchant Center's text and XML feeds, of our own making."""

from pathlib import Path

import pytest

from catalogue.rows import FeedUnreadable
from tests.unit.catalogue.feeds import read, written

HEADER = (
    "id\ttitle\tlink\timage link\tprice\tsale price\tsale price effective date\tavailability\t"
    "product type\tbrand\tgtin\tcolor\n"
)
BOOT = (
    "boot-7\tDeck &amp; dock boot\thttps://shop.example/boots/7\t//cdn.example/7 a.jpg\t129.95 EUR\t99.00 EUR\t"
    "2026-11-27T00:00+0100/2026-11-30T23:59+0100\tin stock\tShoes > Boots > Deck/Dock\tTidewater\t04006381333931\tnavy\n"
)
RSS = """<?xml version="1.0" encoding="{encoding}"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Our shop</title>{items}</channel></rss>"""
ITEM = """<item><g:id>{id}</g:id><title>Mug &amp; lid, größe 2</title><link>https://shop.example/mug</link>
<g:price>12.50 EUR</g:price><g:availability>out_of_stock</g:availability>
<g:additional_image_link>https://shop.example/2.jpg</g:additional_image_link>
<g:product_type>Kitchen &gt; Mugs</g:product_type><g:product_type>Second</g:product_type></item>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Our shop</title>
<entry><id>tag:shop.example</id><title>Mug</title><link href="https://shop.example/mug"/><g:id>mug-1</g:id>
<g:price>12.50 EUR</g:price><g:item_group_id>mugs</g:item_group_id></entry></feed>"""


def test_every_attribute_of_a_text_row_reaches_its_field(tmp_path: Path) -> None:
    found, rejects, _ = read(written(tmp_path, HEADER + BOOT))
    assert rejects == []
    assert found["boot-7"] == {
        "shop_id": "demo",
        "item_id": "boot-7",
        "title": "Deck & dock boot",
        "url": "https://shop.example/boots/7",
        "image_url": "https://cdn.example/7%20a.jpg",
        "price": 129.95,
        "sale_price": 99.0,
        "sale_starts_at_ms": 1_795_734_000_000,
        "sale_ends_at_ms": 1_796_079_540_000,
        "currency": "EUR",
        "availability": "in_stock",
        "category": "Shoes/Boots/Deck-Dock",
        "brand": "Tidewater",
        "gtin": "04006381333931",
        "attributes": {"color": "navy"},
    }


@pytest.mark.parametrize(
    ("encode", "encoding"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), None),
        (lambda text: text.encode("utf-16"), None),
        (lambda text: text.encode("cp1252"), "cp1252"),
        (lambda text: text.replace("\n", "\r\n").encode(), None),
    ],
)
def test_a_text_feed_may_have_any_usual_encoding(
    tmp_path: Path, encode: object, encoding: str | None
) -> None:
    text = "id\ttitle\tprice\n1\tCafé größe\t5 EUR\n"
    found, _, _ = read(written(tmp_path, encode(text)), encoding=encoding)  # type: ignore[operator]
    assert found["1"]["title"] == "Café größe"


def test_a_wrong_encoding_is_refused_with_the_position_and_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, "id\ttitle\n1\tCafé\n".encode("cp1252"))
    with pytest.raises(FeedUnreadable, match=r"position 14.*--encoding cp1252"):
        read(path)


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO-8859-1", "UTF-16"])
def test_an_rss_feed_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    text = RSS.format(encoding=encoding, items=ITEM.format(id="mug-1") + ITEM.format(id="mug-2"))
    found, rejects, counts = read(written(tmp_path, text.encode(encoding)))
    assert (rejects, counts.rows) == ([], 2)
    assert found["mug-2"] == {
        "shop_id": "demo", "item_id": "mug-2", "title": "Mug & lid, größe 2", "url": "https://shop.example/mug",
        "price": 12.5, "currency": "EUR", "availability": "out_of_stock", "category": "Kitchen/Mugs",
    }  # fmt: skip


def test_an_atom_entry_has_the_id_of_google_and_the_address_of_its_link(tmp_path: Path) -> None:
    found, _, _ = read(written(tmp_path, ATOM))
    assert found["mug-1"]["url"] == "https://shop.example/mug"
    assert found["mug-1"]["title"] == "Mug"
    assert read(written(tmp_path, ATOM), "group")[0].keys() == {"mugs"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "<rss>\n<item><id>1</id>\n<title>a & b</title></item></rss>",
            r"line 3, column \d+: not well-formed",
        ),
        ("<rss>\n<item><title>a&nbsp;b</title></item></rss>", r"line 2, column \d+: undefined entity"),
        ("<rss><item><id>1</id>", "line 1, column 22: no element found"),
        (
            '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><r><item><id>&b;</id></item></r>',
            "declares a DTD or entities",
        ),
        (
            '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><r><item><id>&f;</id></item></r>',
            "declares a DTD",
        ),
        ('<?xml version="1.0" encoding="x-none"?><r/>', "an encoding that XML readers lack"),
    ],
)
def test_malformed_or_dangerous_xml_is_refused_with_its_position(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(FeedUnreadable, match=message):
        read(written(tmp_path, content))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"price": "free"}, "price_invalid"),
        ({"price": "-3.00 EUR"}, "price_invalid"),
        ({"price": "3.00"}, "currency_missing"),
        ({"price": "3.00 EUR", "sale price": "2.00 USD"}, "currencies_differ"),
        ({"availability": "maybe"}, "availability_unknown"),
        ({"title": " "}, "title_missing"),
        ({"id": ""}, "id_missing"),
        ({"id": "x" * 65}, "field_invalid"),
        ({"link": "javascript:alert(1)"}, "field_invalid"),
        ({"sale price effective date": "tomorrow"}, "time_invalid"),
        ({"sale price effective date": "2026-13-01/2026-13-02"}, "time_invalid"),
    ],
)
def test_a_bad_cell_rejects_its_row_with_the_reason(
    tmp_path: Path, cells: dict[str, str], reason: str
) -> None:
    row = {"id": "b", "title": "B", "link": "", "price": "", "sale price": "", "availability": ""} | cells
    text = "\t".join(row) + "\n" + "\t".join(row.values()) + "\n" + "a\tA\n"
    found, [reject], _ = read(written(tmp_path, text))
    assert (reject.reason, reject.line) == (reason, 2)
    assert found.keys() == {"a"}


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("15.00 USD", 15.0),
        ("USD 15", 15.0),
        ("1,299.50 USD", 1299.5),
        ("15,50 USD", 15.5),
        ("1.299,50 USD", 1299.5),
        ("15usd", 15.0),
    ],
)
def test_a_price_is_read_in_the_forms_that_feeds_use(tmp_path: Path, text: str, amount: float) -> None:
    found, _, _ = read(written(tmp_path, f"id\ttitle\tprice\n1\tA\t{text}\n"))
    assert (found["1"]["price"], found["1"]["currency"]) == (amount, "USD")


def test_a_row_with_too_many_cells_is_rejected_and_a_shorter_one_is_not(tmp_path: Path) -> None:
    found, [reject], counts = read(written(tmp_path, "id\ttitle\tbrand\n1\tA\tB\tC\n\n2\tA\n"))
    assert (reject.reason, reject.line, counts.rows) == ("columns_differ", 2, 2)
    assert found.keys() == {"2"}


def test_a_quote_that_is_never_closed_is_refused_and_does_not_take_the_rest_of_the_feed(
    tmp_path: Path,
) -> None:
    with pytest.raises(FeedUnreadable, match=r"line 3: unexpected end of data"):
        read(written(tmp_path, 'id,title\n1,A\n2,"B\n3,C\n'))


def test_quotes_may_be_part_of_a_text_between_tabs(tmp_path: Path) -> None:
    text = 'id\ttitle\n1\t"Best" mug\n2\t27" lamp\n3\t"A ""quoted"" cell"\n'
    found, _, _ = read(written(tmp_path, text))
    assert [found[item]["title"] for item in "123"] == ['"Best" mug', '27" lamp', 'A "quoted" cell']


def test_a_repeated_id_is_rejected(tmp_path: Path) -> None:
    found, [reject], _ = read(written(tmp_path, "id\ttitle\n1\tA\n1\tB\n"))
    assert (found["1"]["title"], reject.reason, reject.line) == ("A", "duplicate_id", 3)


def test_an_unknown_header_is_refused_with_the_columns_that_are_needed(tmp_path: Path) -> None:
    with pytest.raises(FeedUnreadable, match="Needed are, separated by commas or tabs: id and title"):
        read(written(tmp_path, "sku;name\n1;A\n"))
