"""Groups of senders: neither one client nor one network decides a check.

Strangers write the input of these checks, because a shop's key stands in its pages. So the senders of a shop are divided
into groups by the hash of their network. A check fails only if it fails in more than half of the groups. A fault of the
shop breaks every group alike. A single network is in one group, whatever it sends and however much.

* A shop with one or two networks is a data set, a proxy or a test. Its senders are divided by client as well.
* Events of a trusted back end, and of an import, have no network of their own. Their client is the sender.
* A group with few cases is not judged, and neither is a shop with fewer than `FEWEST_GROUPS` other groups.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# A network and a client are known by the first hexadecimal digit of their key. The keys are md5.
DIGITS = 16
# More groups withstand more networks, but a group needs cases: 16 groups from 400 cases per group.
FEW_GROUPS, MANY_GROUPS, CASES_FOR_MANY = 5, DIGITS, 400
FEWEST_GROUPS = 3
FEWEST_CASES_A_GROUP = 10
# With more networks than this, the network is the sender.
SHARED_NETWORKS = 2

# The columns of STAGING.STG_EVENTS as the digits of a cell.
NETWORK_DIGIT = "left(iff(IS_TRUSTED or NETWORK_KEY is null, CLIENT_KEY, NETWORK_KEY), 1)"
CLIENT_DIGIT = "left(CLIENT_KEY, 1)"


class Cell(NamedTuple):
    """The finest part of a shop's senders that is counted: a digit of the network and one of the client."""

    network: int
    client: int


def cell(network_digit: str, client_digit: str) -> Cell:
    """Return the cell of two hexadecimal digits, as the queries return them."""
    return Cell(int(network_digit, DIGITS), int(client_digit, DIGITS))


def key(*parts: str) -> str:
    """Return the key that sql/macros/key.sql gives these columns."""
    return hashlib.md5("\x1f".join(parts).encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def groups(cases: Mapping[Cell, float], fewest_cases: float = FEWEST_CASES_A_GROUP) -> list[frozenset[Cell]]:
    """Divide the cells into groups by their network, and return the groups with enough cases.

    With one or two networks, a group is a part of the clients of one network.
    """
    networks = {at.network for at, number in cases.items() if number > 0}
    number = MANY_GROUPS if sum(cases.values()) >= MANY_GROUPS * CASES_FOR_MANY else FEW_GROUPS
    by_client = len(networks) <= SHARED_NETWORKS
    found: dict[tuple[int, int], set[Cell]] = defaultdict(set)
    for at in cases:  # also without a case: on another day it may have some
        found[(at.network, at.client % number) if by_client else (at.network % number, 0)].add(at)
    return [
        frozenset(cells)
        for _, cells in sorted(found.items())
        if sum(cases[at] for at in cells) >= fewest_cases
    ]


def middle(values: Sequence[float], usual: float = 0.0) -> float:
    """Return the median of one value per group; of two middle values, the one nearer to `usual`.

    So it is beyond a bound exactly if more than half of the groups are.
    """
    ordered = sorted(values)
    return min(ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2], key=lambda one: abs(one - usual))


def usual_total(cases: Sequence[float]) -> float:
    """Return the sum if the largest group were like the others: one network makes no small shop a judged one."""
    others = len(cases) - 1
    return (sum(cases) - max(cases)) * len(cases) / others if others > 0 else 0.0
