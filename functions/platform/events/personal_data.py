"""Find user info, mail addresses, card numbers and phone numbers in a text, and replace them.

The patterns read the canonical form of a text, in which an encoded or full-width `@` is an `@`. Each pattern takes linear
time, because texts come from strangers. docs/decisions/0052-masking.md has the measured false positives.
"""

import re
import unicodedata
from urllib.parse import unquote

MAIL, CARD, PHONE = "(mail)", "(card)", "(phone)"
# A text is decoded at most this often: %252540 needs three rounds.
DECODINGS_MAX = 5
# A number that remains after the first pass, such as the last digits of a long list, may be a match of its own.
PASSES_MAX = 4

# Spellings of "@" that decoding of percent signs leaves: HTML, JavaScript's escape(), JSON.
_AT = re.compile(r"&(?:#0*64|#x0*40|commat);?|%u0040|\\u0040", re.IGNORECASE)
# Characters that nobody sees. The collector removes NUL itself, which must not join a mail address again.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20e3\ufe00-\ufe0f\ufeff]"
)
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
_FULL_STOPS = str.maketrans("\u3002\uff61", "..")

_USERINFO = re.compile(r"([/\\]{2})[^/\\\s?#]*@")
_IN_LOCAL_PART = r"""[^\s@,;<>()\[\]"/\\?&#|]"""
_IN_NAME = r"""[^\s@,;<>()\[\]"/\\?&#|:]"""
_DOMAIN = r"(?:(?:[\w-]++\.)+(?:xn--[\w-]+|[^\W\d_]{2,})|\[[\d.:a-fA-F]{2,45}\])"
_MAIL = re.compile(
    rf"(?<!{_IN_LOCAL_PART}){_IN_LOCAL_PART}++@{_DOMAIN}"
    rf'|"[^"@]{{1,64}}"@{_DOMAIN}'
    # A name and a password need no dot in the name of their host.
    rf"|(?<!{_IN_LOCAL_PART}){_IN_NAME}*+:{_IN_LOCAL_PART}++@[\w.-]+"
)

_DASHES = "\\-\u2010-\u2015\u2212"
_BETWEEN = rf"[\s._/{_DASHES}\u00b7]{{0,3}}"
_DIGITS_OF_A_CARD = re.compile(rf"[0-9](?:{_BETWEEN}[0-9]){{12,}}")
_GROUPS = re.compile(r"([^0-9]+)")
CARD_DIGITS_MIN, CARD_DIGITS_MAX = 13, 19
# Single digits count only in the two usual lengths: each length is one more chance for the check digit.
SINGLE_DIGITS = (16, 15)
# EAN and ITF-14; a UPC with a zero in front is an EAN.
GTIN_DIGITS = (13, 14)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_IN_PHONE = rf"[\s().{_DASHES}/]{{0,3}}"
# E.164: https://www.itu.int/rec/T-REC-E.164
_INTERNATIONAL = re.compile(rf"(?<![\w+])\+[\s(]{{0,2}}[1-9](?:{_IN_PHONE}[0-9]){{7,14}}(?![0-9])")
# Neither the end of a longer number, nor one of several numbers: an EAN is also written as 4 006381 333931.
_NOT_WITHIN = rf"(?<![\w.,+/{_DASHES}])(?<![0-9]\s)"
_NATIONAL = re.compile(
    "|".join(
        (
            # 0171 1234567, 030/12345678
            rf"{_NOT_WITHIN}0[1-9][0-9]{{1,4}}[\s/{_DASHES}]{{1,3}}[0-9]{{6,8}}(?!\w)",
            # (030) 123456
            rf"{_NOT_WITHIN}\(0[1-9][0-9]{{1,4}}\)[\s/{_DASHES}]{{0,2}}[0-9](?:[\s{_DASHES}]?[0-9]){{5,9}}(?!\w)",
            # (555) 123-4567
            rf"{_NOT_WITHIN}\([2-9][0-9]{{2}}\)\s?[0-9]{{3}}[\s.{_DASHES}][0-9]{{4}}(?!\w)",
            # 555-123-4567. An area code that ends with 00 is no person's, and 800 400 1800 are measures.
            rf"{_NOT_WITHIN}(?:1[\s.{_DASHES}])?[2-9](?!00)[0-9]{{2}}([\s.{_DASHES}])[0-9]{{3}}\1[0-9]{{4}}(?![\w{_DASHES}]|\s[0-9])",
        )
    )
)
# 0049 171 1234567
_INTERNATIONAL_BY_ZEROS = re.compile(
    rf"{_NOT_WITHIN}00[\s(.{_DASHES}/]{{0,2}}[1-9](?:{_IN_PHONE}[0-9]){{8,13}}(?!\w)"
)
# 06 12 34 56 78, 020 7946 0958, 0412 345 678
_IN_GROUPS = re.compile(
    rf"{_NOT_WITHIN}0[1-9][0-9]{{0,3}}([ ./{_DASHES}])[0-9]{{2,4}}(?:\1[0-9]{{2,4}}){{1,4}}(?!\w)"
)
# Eleven digits with one zero in front: mobile numbers of Germany, Britain, Japan. No usual product code has that form.
_ELEVEN_DIGITS = re.compile(rf"{_NOT_WITHIN}0[1-9][0-9]{{9}}(?![\w{_DASHES}]|[.,][0-9])")


def canonical(text: str) -> str:
    """Return the text decoded, without invisible characters, with ASCII forms of digits, `@` and dots."""
    for _ in range(DECODINGS_MAX):
        decoded = _AT.sub("@", unquote(text))
        if decoded == text:
            break
        text = decoded
    if text.isascii():
        return text if text.isprintable() else _INVISIBLE.sub("", text)
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).translate(_FULL_STOPS)
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), _INVISIBLE.sub("", text))


def without_personal_data(plain: str, typed: bool) -> str:
    """Return a canonical text with its personal data replaced.

    Args:
        plain: the text.
        typed: a person may have typed it. National phone numbers are replaced only there: in a catalogue, numbers of
            their forms are part numbers and measures.
    """
    for _ in range(PASSES_MAX):
        before = plain
        if "@" in plain:
            plain = _MAIL.sub(MAIL, _USERINFO.sub(r"\1", plain))
        plain = _INTERNATIONAL.sub(PHONE, plain)
        plain = _DIGITS_OF_A_CARD.sub(_without_cards, plain)
        if typed:
            plain = _INTERNATIONAL_BY_ZEROS.sub(_unless_a_gtin, plain)
            plain = _IN_GROUPS.sub(_without_phone, _NATIONAL.sub(PHONE, plain))
            plain = _ELEVEN_DIGITS.sub(PHONE, plain)
        if plain == before:
            break
    return plain


def has_mail(plain: str) -> bool:
    """Return True if a canonical text contains a mail address or user info."""
    return "@" in plain and bool(_MAIL.search(plain) or _USERINFO.search(plain))


def has_international_phone(plain: str) -> bool:
    """Return True if a canonical text contains a phone number that begins with `+`."""
    return bool(_INTERNATIONAL.search(plain))


def is_card(digits: str) -> bool:
    """Return True if digits are a card number: an issuer's first digits, Luhn's check digit, and no GTIN.

    https://www.iso.org/standard/70484.html
    """
    if len(digits) == 16:
        # Mastercard and Mir; a list of years begins with 20.
        if digits[0] < "2" or "2000" <= digits[:4] < "2200" or "2721" <= digits[:4] < "3000":
            return False
    elif not "3" <= digits[0] <= "6":
        return False
    if sum(map(int, digits[-1::-2])) % 10 != -sum(_DOUBLED[int(one)] for one in digits[-2::-2]) % 10:
        return False
    return len(digits) not in GTIN_DIGITS or not _is_gtin(digits)


def _is_gtin(digits: str) -> bool:
    """Return True if the check digit is a GTIN's. Shoppers search for them, and cards of that length are rare."""
    return (sum(map(int, digits[-1::-2])) + 3 * sum(map(int, digits[-2::-2]))) % 10 == 0


def _unless_a_gtin(found: re.Match[str]) -> str:
    """Return digits that begin with 00 if they are a GTIN, else the mark of a phone number."""
    digits = found[0]
    return digits if digits.isdecimal() and len(digits) in (12, *GTIN_DIGITS) and _is_gtin(digits) else PHONE


def _without_phone(found: re.Match[str]) -> str:
    """Return groups of digits with a phone number replaced: a date has eight digits."""
    return PHONE if 9 <= sum(map(str.isdecimal, found[0])) <= 11 else found[0]


def _without_cards(found: re.Match[str]) -> str:
    """Return digits and separators with each card number among them replaced."""
    parts = _GROUPS.split(found[0])
    groups = parts[::2]
    # A UUID has letters beside its groups of digits. A number in one piece is a card whatever stands beside it.
    first = int(_is_letter(found.string, found.start() - 1))
    last = len(groups) - int(_is_letter(found.string, found.end()))
    kept: list[str] = []
    start = 0
    while start < len(groups):
        count = _groups_of_a_card(groups, start)
        if count > 1 and not first <= start <= start + count <= last:
            count = 0
        kept.append(CARD if count else groups[start])
        start += count or 1
        kept += parts[2 * start - 1 : 2 * start]
    return "".join(kept)


def _is_letter(text: str, place: int) -> bool:
    return 0 <= place < len(text) and text[place].isalpha()


def _groups_of_a_card(groups: list[str], start: int) -> int:
    """Return how many groups of digits, beginning with this one, are a card number; 0 if none are."""
    if len(groups[start]) == 1:
        for length in SINGLE_DIGITS:
            window = groups[start : start + length]
            digits = "".join(window)
            if len(window) == len(digits) == length and is_card(digits):
                return length
        return 0
    longest, digits = 0, ""
    for count, group in enumerate(groups[start : start + CARD_DIGITS_MAX], start=1):
        digits += group
        if len(digits) > CARD_DIGITS_MAX:
            break
        if len(digits) >= CARD_DIGITS_MIN and is_card(digits):
            longest = count
        # Only the last group of a card number is short. A list of sizes has short ones everywhere.
        if len(group) < 3:
            break
    return longest
