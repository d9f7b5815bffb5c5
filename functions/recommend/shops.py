"""The recommenders of a stage's shops: each has its own release, fallback and endpoint."""

from collections.abc import Callable
from functools import lru_cache

from functions.platform.errors import Reason, RequestRefused
from functions.platform.settings import RecommendSettings
from functions.recommend.recommend import Recommender, not_served


class Recommenders:
    """One recommender per shop that was asked for. Only shops of the settings get one, so their number is bounded."""

    def __init__(self, settings: RecommendSettings, make: Callable[[str], Recommender]) -> None:
        """Make no recommender yet: a request waits for what its own shop needs only."""
        self.settings = settings
        self._of = lru_cache(maxsize=None)(make)

    def of(self, shop_id: str | None) -> Recommender:
        """Return the recommender of a shop; of the trained one, if the request names none and the stage has no other.

        Raises:
            RequestRefused: the stage does not serve the shop, or has several and the request names none.
        """
        trained = self.settings.trained_shops
        if shop_id is None:
            if len(trained) > 1:
                raise RequestRefused(
                    Reason.PARAMETER_INVALID,
                    f"shop is missing: stage {self.settings.stage} serves several shops. Send the shop_id of the page's events",
                )
            shop_id = trained[0]
        if shop_id not in self.settings.shops:
            raise not_served(shop_id, self.settings)
        return self._of(shop_id)
