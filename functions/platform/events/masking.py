"""Mask personal data in an event before it is stored: which field is treated how.

The patterns are in personal_data.py. It is imported when a text first needs a closer look, so that a cold start and most
events do without it.
"""

import hmac
import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec import UNSET

from functions.platform.events.event import Event

# Returns what is stored in place of an id that contains a mail address.
Pseudonym = Callable[[str], str]

# Of the ids, these stand for a person. A phone number as one of them is replaced as well.
PERSON_IDS = frozenset({"client_id", "session_id", "user_id"})
OTHER_IDS = frozenset({"event_id", "item_list_id", "recommendation_id", "transaction_id"})
ADDRESSES = frozenset({"page_location", "page_referrer"})
CATALOGUE_TEXTS = frozenset({"item_brand", "item_category", "item_name"})
# Of a refused event, these are never changed: ids of the catalogue and signatures, times and amounts.
KEPT_TEXTS = frozenset({"item_id", "receipt"})
KEPT_NUMBERS = frozenset({"client_time_ms", "price", "value"})
# An address within an unreadable body: up to its query, and the rest.
_ADDRESS = re.compile(r'(https?:[/\\]{1,4}[^\s"?#]*)[?#][^\s"]*', re.IGNORECASE)
JSON_TOKEN = re.compile(r'[^\s"{}\[\],]+')

_DIGITS = b"0123456789"
# A phone number has at least eight digits.
DIGITS_MIN = 8
# JSON of these bytes alone has no "@", no digits of other scripts, and nothing encoded.
_HARMLESS = bytes(set(range(128)) - set(b"@%+&\\"))
# An encoded "@", percent sign, plus sign or digit, and the first bytes of scripts with digits of their own.
_ENCODED = re.compile("%(?:25|2[bB]|3[0-9]|40|[dD][9bB]|[eE][01fF]|[fF]0|u0040)")
# Digits of every script, small and circled ones, and what may stand between two of them.
_FOREIGN_DIGIT = re.compile(
    "[\u00b2\u00b3\u00b9\u0660-\u0669\u06f0-\u1fff\u2070-\u2089\u2460-\u24ff\u2776-\u2793\ua620-\uabf9\uff10-\uff19\U000104a0-\U0001fbf9]"
)
_ENTITY = re.compile("&(?:#|commat)")
# The bytes of ASCII, of Latin, Greek and Cyrillic letters and of those of East Asia, which have no digits of their own.
_WITHOUT_DIGITS = bytes([*range(0xC0), *range(0xC3, 0xD2), *range(0xE3, 0xEA), *range(0xEB, 0xEE)])
_DIGIT = "[\\d\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u2460-\u24ff\u2776-\u2793]"
_BETWEEN = r"[\W_]{0,3}"
# What may contain such a number, found in a small part of the time: no Latin, Greek, Cyrillic or East Asian letters.
_WITHOUT_LETTERS = re.compile("[^a-zA-Z\u00c0-\u052f\u3041-\u9fff\uac00-\ud7a3]{9,}")
_ENCODED_SEPARATOR = re.compile("%[0-9a-fA-F]{2}")
# Numbers with a plus sign and eight digits, with eleven digits, or with nine in several groups. All others are harmless.
_NUMBER = re.compile(
    rf"\+{_BETWEEN}{_DIGIT}(?:{_BETWEEN}{_DIGIT}){{7}}"
    rf"|{_DIGIT}{{11}}"
    rf"|(?<!{_DIGIT})(?={_DIGIT}(?:{_BETWEEN}{_DIGIT}){{8}}){_DIGIT}{{1,10}}+(?!{_DIGIT})"
)
# More than that, for RE2, by which imports filter their columns.
SUSPECT_SQL = r"[@\x{ff20}\x{fe6b}%&\\]|[^a-zA-Z\x{c0}-\x{52f}\x{3041}-\x{9fff}\x{ac00}-\x{d7a3}]{9}"
SUSPECT_ID_SQL = r"[@\x{ff20}\x{fe6b}%&\\+\x{ff0b}\x{fe62}]"

# User info ends with the last "@" of the authority, however it is written.
_AUTHORITY = re.compile(
    r"((?:[a-z][a-z0-9+.-]*:)?[/\\]+)[^/\\]*(?:@|%(?:25)*40|\uff20|\ufe6b)", re.IGNORECASE
)
_NOT_IN_A_PATH = re.compile("""[\x00-\x20"#%<>?\\\\^`{|}\x7f]""")


def may_hold_personal_data(event: Event, encoded: bytes) -> bool:
    """Return False for most events, in a small part of the time that `mask` takes.

    Args:
        event: the event.
        encoded: the same event as JSON.
    """
    rest = encoded.translate(None, _HARMLESS)
    if rest and (b"+" in rest or _may_have_at(encoded.decode())):
        return True
    texts = ""
    if event.page_location is not UNSET:
        texts = event.page_location
    if event.page_referrer is not UNSET:
        texts += "x" + event.page_referrer  # a letter, so that digits of two fields are not one number
    if event.search_term is not UNSET:
        texts += "x" + event.search_term
    if event.items is not UNSET:
        for item in event.items:
            if item.item_name is not UNSET:
                texts += "x" + item.item_name
            if item.item_category is not UNSET:
                texts += "x" + item.item_category
            if item.item_brand is not UNSET:
                texts += "x" + item.item_brand
    return _may_have_number(texts)


def mask(event: Event, pseudonym: Pseudonym) -> None:
    """Replace personal data in the event's texts, addresses and ids.

    Args:
        event: it is changed in place.
        pseudonym: returns what stands in for an id that contains a mail address.
    """
    if event.page_location is not UNSET:
        event.page_location = masked_address(event.page_location)
    if event.page_referrer is not UNSET:
        event.page_referrer = masked_address(event.page_referrer)
    if event.search_term is not UNSET:
        event.search_term = masked_text(event.search_term)
    for item in () if event.items is UNSET else event.items:
        if item.item_name is not UNSET:
            item.item_name = masked_catalogue_text(item.item_name)
        if item.item_category is not UNSET:
            item.item_category = masked_catalogue_text(item.item_category)
        if item.item_brand is not UNSET:
            item.item_brand = masked_catalogue_text(item.item_brand)
    event.event_id = masked_id(event.event_id, pseudonym)
    event.client_id = masked_person_id(event.client_id, pseudonym)
    event.session_id = masked_person_id(event.session_id, pseudonym)
    if event.user_id is not UNSET:
        event.user_id = masked_person_id(event.user_id, pseudonym)
    if event.transaction_id is not UNSET:
        event.transaction_id = masked_id(event.transaction_id, pseudonym)
    if event.item_list_id is not UNSET:
        event.item_list_id = masked_id(event.item_list_id, pseudonym)
    if event.recommendation_id is not UNSET:
        event.recommendation_id = masked_id(event.recommendation_id, pseudonym)


def without_query(address: str) -> str:
    """Return a page's address without its query and fragment."""
    return address.split("#", 1)[0].split("?", 1)[0]


def masked_address(address: str) -> str:
    """Return a page's address without query, fragment and user info, and with personal data in its path replaced."""
    address = without_query(address)
    if not is_suspect(address):
        return address
    from functions.platform.events.personal_data import canonical, without_personal_data

    open_address = _AUTHORITY.sub(r"\1", address, count=1) if _AUTHORITY.match(address) else address
    plain = canonical(open_address)
    if not is_suspect(plain):
        return open_address
    # Segment by segment: /0123/456789 is no phone number. User info needs the slashes before it.
    found = "/".join(
        without_personal_data(part, typed=True)
        for part in without_personal_data(plain, typed=False).split("/")
    )
    if found == plain:
        return open_address
    return _NOT_IN_A_PATH.sub(lambda one: f"%{ord(one[0]):02X}", found)[: len(address)]


def masked_text(text: str) -> str:
    """Return a text that a person may have typed, with personal data replaced."""
    return _masked(text, typed=True)


def masked_catalogue_text(text: str) -> str:
    """Return a text of a shop's catalogue, with personal data replaced."""
    return _masked(text, typed=False)


def _masked(text: str, typed: bool) -> str:
    if not is_suspect(text):
        return text
    from functions.platform.events.personal_data import canonical, without_personal_data

    plain = canonical(text)
    if not is_suspect(plain):
        return text
    found = without_personal_data(plain, typed)
    # Unicode's canonical form can be longer than the text, which has the contract's length.
    return text if found == plain else found[: len(text)]


def masked_id(text: str, pseudonym: Pseudonym) -> str:
    """Return an id, or its pseudonym if it contains a mail address."""
    if not _may_have_at(text):
        return text
    from functions.platform.events.personal_data import canonical, has_mail

    plain = canonical(text)
    return pseudonym(plain.casefold()) if has_mail(plain) else text


def masked_person_id(text: str, pseudonym: Pseudonym) -> str:
    """Return an id that stands for a person, or its pseudonym if it contains a mail address or a phone number with `+`."""
    if not _may_have_at(text) and "+" not in text and text.isascii():
        return text
    from functions.platform.events.personal_data import canonical, has_international_phone, has_mail

    plain = canonical(text)
    return pseudonym(plain.casefold()) if has_mail(plain) or has_international_phone(plain) else text


def is_suspect(text: str) -> bool:
    """Return False if the text certainly has no personal data."""
    return _may_have_at(text) or _may_have_number(text)


def _may_have_at(text: str) -> bool:
    if "@" in text or ("%" in text and _ENCODED.search(text)) or ("&" in text and _ENTITY.search(text)):
        return True
    if "\\" in text and "\\u0040" in text:
        return True
    return not text.isascii() and ("\uff20" in text or "\ufe6b" in text)


def _may_have_number(text: str) -> bool:
    if not has_digits(text):
        if text.isascii():
            return False
        # Umlauts are frequent, and digits of other scripts are rare.
        others = text.encode("utf-8", "surrogatepass").translate(None, _WITHOUT_DIGITS)
        if not others or not _FOREIGN_DIGIT.search(text):
            return False
    elif "%" in text:
        text = _ENCODED_SEPARATOR.sub(" ", text)
    return any(_NUMBER.search(run[0]) for run in _WITHOUT_LETTERS.finditer(text))


def has_digits(text: str) -> bool:
    """Return True if the text has as many ASCII digits as a phone number."""
    return len(text) - len(text.encode("ascii", "replace").translate(None, _DIGITS)) >= DIGITS_MIN


def masked_json(value: Any, pseudonym: Pseudonym, name: str = "") -> Any:
    """Return a refused event, or a part of one, with personal data replaced in every text, name and number.

    Args:
        value: parsed JSON.
        pseudonym: as in `mask`.
        name: the value's name in the event.
    """
    if isinstance(value, dict):
        return {masked_text(key): masked_json(inner, pseudonym, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked_json(inner, pseudonym, name) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and name not in KEPT_NUMBERS:
        found = masked_text(str(value))
        return value if found == str(value) else found
    if not isinstance(value, str) or name in KEPT_TEXTS:
        return value
    if name in ADDRESSES:
        return masked_address(value)
    if name in PERSON_IDS or name in OTHER_IDS:
        return (masked_person_id if name in PERSON_IDS else masked_id)(value, pseudonym)
    return masked_catalogue_text(value) if name in CATALOGUE_TEXTS else masked_text(value)


def masked_body(text: str) -> str:
    """Return the text of an unreadable body with personal data replaced, and its other characters as they are."""
    text = _ADDRESS.sub(r"\1", text)
    if not is_suspect(text):
        return text
    from functions.platform.events.personal_data import without_personal_data

    # Token by token, because decoding the whole body would add quotes and brackets to it.
    return without_personal_data(JSON_TOKEN.sub(_masked_token, text), typed=True)


def _masked_token(token: re.Match[str]) -> str:
    found = masked_text(token[0])
    return found if found == token[0] else "".join(JSON_TOKEN.findall(found))


def keyed_pseudonym(key: bytes, text: str) -> str:
    """Return the pseudonym of a text. Without the key, nobody can find it by trying mail addresses."""
    digest = hmac.new(key, b"pseudonym\0" + text.encode("utf-8", "surrogatepass"), "sha256")
    return f"pseudonym-{digest.hexdigest()[:32]}"


def temporary_pseudonym(text: str) -> str:
    """Return the pseudonym of a text under a key that ends with this execution environment."""
    return keyed_pseudonym(_temporary_key(), text)


@lru_cache(maxsize=1)
def _temporary_key() -> bytes:
    return os.urandom(32)
