"""Receipt keys: read once, rotated without a gap, and not required for an answer."""

import pytest
from botocore.exceptions import ReadTimeoutError

from functions.platform.receipt import issue
from functions.platform.receipt_keys import RECHECK_S, REFRESH_S, ReceiptKeys
from testing.fakes import FakeSecrets
from testing.threads import at_once


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def token(key: str) -> str:
    return issue("rec-1", "demo", "s1", "m", "v", ["a"], 1_700_000_000, key.encode())


def environment(secrets: FakeSecrets) -> tuple[ReceiptKeys, Clock]:
    """The keys and the clock of a new execution environment."""
    clock = Clock()
    return ReceiptKeys("receipts", lambda: secrets, clock, at_once), clock


def test_the_keys_are_read_once_for_many_receipts() -> None:
    secrets = FakeSecrets("key-1")
    keys, _ = environment(secrets)
    for _ in range(10):
        assert keys.signing() == b"key-1"
        assert keys.read(token("key-1")) is not None
    assert secrets.calls == 2  # current, and none before it


def test_after_a_rotation_the_new_key_signs_and_the_old_one_still_verifies() -> None:
    secrets = FakeSecrets("key-1")
    secrets.rotate("key-2")
    keys, _ = environment(secrets)
    assert keys.signing() == b"key-2"
    assert keys.read(token("key-1")) is not None
    secrets.rotate("key-3")
    keys, _ = environment(secrets)
    assert keys.read(token("key-1")) is None


def test_an_environment_from_before_a_rotation_reads_the_keys_again_before_it_judges_forged() -> None:
    secrets = FakeSecrets("key-1")
    keys, clock = environment(secrets)
    assert keys.read(token("key-1")) is not None
    secrets.rotate("key-2")
    clock.now_s += RECHECK_S
    assert keys.read(token("key-2")) is not None
    assert keys.signing() == b"key-2"


def test_an_environment_from_before_a_rotation_signs_with_the_new_key_in_time() -> None:
    secrets = FakeSecrets("key-1")
    keys, clock = environment(secrets)
    assert keys.signing() == b"key-1"
    secrets.rotate("key-2")
    clock.now_s += REFRESH_S
    assert keys.signing() == b"key-2"


def test_forged_receipts_do_not_flood_secrets_manager() -> None:
    secrets = FakeSecrets()
    keys, clock = environment(secrets)
    for _ in range(1000):
        assert keys.read("v1.a.b") is None
        clock.now_s += RECHECK_S / 100
    assert secrets.calls <= 2 * 12


def test_old_keys_are_kept_when_secrets_manager_fails() -> None:
    secrets = FakeSecrets("key-1")
    keys, clock = environment(secrets)
    assert keys.signing() == b"key-1"
    secrets.down = True
    clock.now_s += REFRESH_S
    assert keys.signing() == b"key-1"
    assert keys.read("v1.a.b") is None


def test_without_a_key_nothing_is_signed_or_judged() -> None:
    secrets = FakeSecrets("key-1")
    secrets.down = True
    keys, clock = environment(secrets)
    assert keys.signing() is None
    with pytest.raises(LookupError):
        keys.read(token("key-1"))
    assert secrets.calls == 1, "who waits for a page does not wait for every one of them"
    secrets.down = False
    clock.now_s += RECHECK_S
    assert keys.read(token("key-1")) is not None


class OnlyCurrent(FakeSecrets):
    """Secrets Manager that fails for the previous version."""

    def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, str]:
        if VersionStage == "AWSPREVIOUS":
            raise ReadTimeoutError(endpoint_url="https://secretsmanager")
        return super().get_secret_value(SecretId, VersionStage)


def test_a_previous_key_that_cannot_be_read_does_not_stop_the_current_one() -> None:
    keys, _ = environment(OnlyCurrent("key-1"))
    assert keys.signing() == b"key-1"
