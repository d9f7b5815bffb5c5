"""Secret keys for the time of a command: history is older than a page may send, so it comes as a back end's."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from demo.environment import Environment
from deploy.secret_key import issued
from deploy.stages import read_stage


@contextmanager
def temporary_secret_keys(where: Environment) -> Iterator[Callable[[str], str]]:
    """Yield a function that returns a shop's key. The first call per shop issues it, and the end of the block revokes it.

    Raises:
        DeployError: a shop has too many keys, or the stage is not deployed.
    """
    stage, secrets = read_stage(where.stage), where.client("secretsmanager")
    keys: dict[str, str] = {}
    lock = threading.Lock()
    with ExitStack() as stack:

        def key_of(shop: str) -> str:
            with lock:
                if shop not in keys:
                    keys[shop] = stack.enter_context(issued(stage, shop, secrets))
                return keys[shop]

        yield key_of
