"""The part of a shop in the names of its endpoints, models and log groups.

SageMaker takes 63 letters, digits and hyphens, and compares names without regard to case. A shop's id has up to 64 characters,
also dots and underscores.
"""

import hashlib
import re

# The longest name is that of a release: `tugboat-<16 characters>-<shop>--<21 characters of a run>`.
SHORT_MAX_CHARACTERS = 15
HASH_CHARACTERS = 6
# The ends of an endpoint's name after the shop's.
RESERVED = {"candidate", "realtime"}


def short_name(shop_id: str) -> str:
    """Return the id itself if names can contain it, else its beginning and a hash. deploy/stages.py refuses two equal ones."""
    words = re.sub("[^a-z0-9]+", "-", shop_id.lower()).strip("-")
    if words == shop_id and len(words) <= SHORT_MAX_CHARACTERS and not RESERVED & set(words.split("-")):
        return words
    beginning = words[: SHORT_MAX_CHARACTERS - HASH_CHARACTERS - 1].strip("-")
    digest = hashlib.sha256(shop_id.encode()).hexdigest()[:HASH_CHARACTERS]
    return f"{beginning}-{digest}" if beginning else digest


def shop_prefix(prefix: str, shop_id: str) -> str:
    """Return the start of the names of a shop's endpoints, in the stage with this prefix."""
    return f"{prefix}-{short_name(shop_id)}"
