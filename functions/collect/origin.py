"""The coarse origin of a request. The address, cookies and the user agent itself are never stored."""

import ipaddress
import re
from typing import Literal, NamedTuple

from chalice.app import Request

Device = Literal["mobile", "tablet", "desktop", "other"]

USER_AGENT_MAX_CHARACTERS = 500
_TABLET = re.compile(r"iPad|Tablet|Android(?!.*Mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"Mobi|iPhone|Android", re.IGNORECASE)
_DESKTOP = re.compile(r"Windows NT|Macintosh|X11|CrOS", re.IGNORECASE)


class Origin(NamedTuple):
    """The network prefix (/24 or /48), the device class, and whether a crawler or a tool sent the request."""

    ip_prefix: str | None
    device: Device
    is_bot: bool


def origin_of(request: Request | None) -> Origin:
    """Return the origin of Chalice's request."""
    if request is None:
        raise RuntimeError("origin_of() was called outside a request")
    source_ip = request.context.get("identity", {}).get("sourceIp")
    return origin(source_ip, request.headers.get("user-agent"))


def origin(source_ip: str | None, user_agent: str | None) -> Origin:
    """Return the origin of a request from this address with this user agent."""
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
    # The list names HTTP libraries too, so a shop's own back end identifies itself as tugboat-...
    if not user_agent or user_agent.startswith("tugboat-"):
        return False
    from crawleruseragents import is_crawler  # type: ignore[import-untyped]

    return bool(is_crawler(user_agent[:USER_AGENT_MAX_CHARACTERS]))
