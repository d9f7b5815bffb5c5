"""The work of processes of which the first one fails. A module of its own, because each process imports it anew."""

import time


def fail_or_sleep(
    _model: object, _files: object, _output: object, share: tuple[int, int], _done: object
) -> None:
    """Fail in the first process, and sleep for a minute in the others."""
    if share[0] == 0:
        raise SystemExit(1)
    time.sleep(60)
