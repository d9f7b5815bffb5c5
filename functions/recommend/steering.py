"""The rules and the current products of a shop, as /recommend has them: read from S3 once a minute, applied to each answer."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from functions.platform.catalogue_state import state_key, unpack
from functions.platform.contract import RECOMMEND_K_MAX
from functions.platform.log import get_logger
from functions.platform.refreshed import Refreshed
from functions.platform.s3_keys import rules_key
from functions.platform.stored_json import NOT_MODIFIED, find_bytes, find_object
from functions.platform.time_box import Deadline
from functions.recommend.first_day import FirstDay
from functions.recommend.request import RecommendRequest
from functions.recommend.rules.arrange import Arranged, Scored, arrange
from functions.recommend.rules.compiled import NO_RULES, Catalogue, Request, Rules
from functions.recommend.rules.kept_products import KeptProducts
from functions.recommend.rules.model import decode
from functions.recommend.rules.reserve import Reserve

log = get_logger(__name__)
T = TypeVar("T")

REFRESH_S = 60.0
DAY_MS = 86_400_000
# An environment that was idle has older rules and products than this. Its next request waits for new ones.
STALE_S = 75.0
# The shops whose rules and products are kept. A stage serves few shops, and the name comes from the request.
SHOPS_MAX = 4
# Candidates beyond the items asked for, if no rule but the stock removes any.
SPARE = 20
# Rules can remove most candidates, so the endpoint is asked for as many as it gives.
CANDIDATES_MAX = RECOMMEND_K_MAX


class Products(NamedTuple):
    """The current products of a shop, those that the rules allow, and its lists before the first model.

    A shop without a catalogue has none of them.
    """

    catalogue: Catalogue | None
    reserve: Reserve | None
    first_day: FirstDay | None = None


class PerShop(Generic[T]):
    """One refreshed value per shop."""

    def __init__(self, stored: Callable[[str], Refreshed[T]]) -> None:
        self._stored = stored
        self._kept: dict[str, Refreshed[T]] = {}

    def of(self, shop_id: str) -> Refreshed[T]:
        """Return the value of a shop."""
        found = self._kept.get(shop_id)
        if found is None:
            if len(self._kept) >= SHOPS_MAX:
                del self._kept[next(iter(self._kept))]
            found = self._kept[shop_id] = self._stored(shop_id)
        return found


class Sources(NamedTuple):
    """The rules and the products of every shop."""

    rules: PerShop[Rules]
    products: PerShop[Products]


class Steering(NamedTuple):
    """The rules and the products of one shop at one moment."""

    rules: Rules
    products: Products

    def candidates(self, k: int) -> int:
        """Return the number of items that the endpoint is asked for."""
        return CANDIDATES_MAX if self.rules.prepared else min(k + SPARE, CANDIDATES_MAX)

    def apply(
        self,
        request: RecommendRequest,
        now_ms: int,
        candidates: Iterable[Sequence[Scored]],
        own_list: bool = False,
    ) -> Arranged:
        """Return the items of an answer. `candidates` are lists of items, each best first.

        With `own_list`, the answer has no items but those of the first list.
        """
        asked = Request(
            request.items,
            request.k,
            request.placement,
            now_ms,
            request.exclude,
            own_list,
            _seed(request, now_ms),
        )
        return arrange(self.rules, self.products.catalogue, asked, candidates, self.products.reserve)


def _seed(request: RecommendRequest, now_ms: int) -> str:
    """Return the seed of exploration: one per session and viewed item, so that a page that is loaded again shows the same."""
    who = request.session.session_id if request.session else "\n".join(request.items)
    return f"{now_ms // DAY_MS}\n{who}\n{(request.items or [''])[-1]}"


def sources(s3: Any, bucket: str) -> Sources:
    """Return the rules and the products that are stored in a bucket."""
    return Sources(
        PerShop(lambda shop_id: stored_rules(s3, bucket, shop_id)),
        PerShop(lambda shop_id: stored_products(s3, bucket, shop_id)),
    )


def stored_rules(s3: Any, bucket: str, shop_id: str) -> Refreshed[Rules]:
    """Return the rules of a shop. A shop without any has an empty set. Unreadable ones leave the last good ones."""
    key = rules_key(shop_id)

    def read() -> Rules | None:
        stored = find_bytes(s3, bucket, key)
        return NO_RULES if stored is None else Rules(decode(stored))

    return Refreshed(key, read, REFRESH_S)


def stored_products(s3: Any, bucket: str, shop_id: str) -> Refreshed[Products]:
    """Return the products of a shop. Unreadable ones leave the last good ones, and a state is loaded once per change."""
    key = state_key(shop_id)
    loaded: tuple[str, Products] | None = None

    def read() -> Products | None:
        from botocore.exceptions import ClientError

        nonlocal loaded
        before = loaded
        try:
            found = find_object(s3, bucket, key, **({"IfNoneMatch": before[0]} if before else {}))
        except ClientError as error:
            if before and error.response["Error"]["Code"] == NOT_MODIFIED:
                return before[1]
            raise
        if found is None:
            loaded = None
            return Products(None, None)
        state = unpack(found["Body"].read())
        loaded = str(found["ETag"]), Products(KeptProducts(state), Reserve(state), FirstDay(state))
        return loaded[1]

    return Refreshed(key, read, REFRESH_S)


def steering_of(found: Sources, shop_id: str, deadline: Deadline) -> Steering | None:
    """Return the rules and products of a shop, or None if it has neither, or if neither could be read."""
    rules, products = found.rules.of(shop_id), found.products.of(shop_id)
    rules.begin()
    products.begin()
    read_rules = rules.get_younger_than(STALE_S, deadline) or NO_RULES
    read_products = products.get_younger_than(STALE_S, deadline) or Products(None, None)
    if not read_rules.prepared and read_products.catalogue is None:
        return None
    return Steering(read_rules, read_products)
