"""What the server says of a request's origin, coarse by design: no address, no cookie, no user agent is kept."""

import ipaddress
import re
from typing import Literal, NamedTuple

Device = Literal["mobile", "tablet", "desktop", "other"]

_TABLET = re.compile(r"iPad|Tablet|Android(?!.*Mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"Mobi|iPhone|Android", re.IGNORECASE)
_DESKTOP = re.compile(r"Windows NT|Macintosh|X11|CrOS", re.IGNORECASE)


class Origin(NamedTuple):
    """Where a request came from."""

    ip_prefix: str | None
    device: Device
    is_bot: bool


def origin(source_ip: str | None, user_agent: str | None) -> Origin:
    """Network prefix (/24 or /48), coarse device and bot verdict of a request."""
    return Origin(_prefix(source_ip), _device(user_agent or ""), _is_bot(user_agent or ""))


def _prefix(source_ip: str | None) -> str | None:
    try:
        address = ipaddress.ip_address(source_ip or "")
    except ValueError:
        return None
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


def _device(user_agent: str) -> Device:
    if _TABLET.search(user_agent):
        return "tablet"
    if _MOBILE.search(user_agent):
        return "mobile"
    return "desktop" if _DESKTOP.search(user_agent) else "other"


def _is_bot(user_agent: str) -> bool:
    # The list names crawlers and tools alike, curl and HTTP libraries too: a shop's own back end says who it is.
    if not user_agent or user_agent.startswith("tugboat-"):
        return False
    from crawleruseragents import is_crawler  # type: ignore[import-untyped]

    return bool(is_crawler(user_agent[:500]))
