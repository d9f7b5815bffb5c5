"""Issue, list and revoke the secret keys of shops, with which back ends send events that count as the shop's own.

A key is printed once. Secrets Manager stores its digest, so a lost key is replaced, not looked up. A shop may have several
keys: issue the new one, let the back end use it, then revoke the old one.
"""

import json
import secrets as random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from deploy.command import DeployError, exit_status, stage_parser, table
from deploy.stages import Stage, read_stage
from functions.platform.secret_keys import RECHECK_S, REFRESH_S, digest

# Secret scanners and people recognize a key by this start.
KEY_START = "tugboat-secret-"
KEY_BYTES = 32
KEYS_PER_SHOP = 10
# The first characters of a digest name a key in commands.
NAME_CHARACTERS = 8
# Two commands at once can overwrite each other's value: each reads its own back.
ATTEMPTS = 5
PAUSE_S = 0.2

Keys = dict[str, list[dict[str, str]]]


def issue(stage: Stage, shop: str, secrets: Any) -> str:
    """Store the digest of a new key of a shop, and return the key.

    Raises:
        DeployError: the stage does not list the shop, the shop has too many keys, or the stage is not deployed.
    """
    if shop not in stage.shops:
        raise DeployError(
            f"stage {stage.name} has no shop {shop!r}: use one of {', '.join(stage.shops)}, or add it to "
            f"[{stage.name}.shops] in deploy/stages.toml and deploy"
        )
    key = KEY_START + random.token_urlsafe(KEY_BYTES)
    entry = {"sha256": digest(key), "issued_on": f"{datetime.now(UTC):%Y-%m-%d}"}
    for _ in range(ATTEMPTS):
        keys = read(stage, secrets)
        of_shop = keys.setdefault(shop, [])
        if entry in of_shop:
            return key
        if len(of_shop) >= KEYS_PER_SHOP:
            raise DeployError(
                f"shop {shop!r} of stage {stage.name} has {len(of_shop)} secret keys, the most that are kept: revoke one "
                f'with make secret-key STAGE={stage.name} SHOP={shop} ARGS="--revoke {name_of(of_shop[0])}"'
            )
        of_shop.append(entry)
        _write(stage, keys, secrets)
        time.sleep(PAUSE_S)
    raise DeployError(
        f"other commands change the secret {stage.secret_keys_secret} all the time: run this one again"
    )


def revoke(stage: Stage, shop: str, name: str, secrets: Any) -> None:
    """Remove a shop's key that has this name, the start of its digest.

    Raises:
        DeployError: the shop has no such key, or several.
    """
    for _ in range(ATTEMPTS):
        keys = read(stage, secrets)
        of_shop = keys.get(shop, [])
        found = [entry for entry in of_shop if name and entry["sha256"].startswith(name)]
        if len(found) != 1:
            known = ", ".join(name_of(entry) for entry in of_shop) or "none"
            raise DeployError(
                f"{len(found)} secret keys of shop {shop!r} begin with {name!r}: name one of its keys, {known}"
            )
        of_shop.remove(found[0])
        _write(stage, keys, secrets)
        time.sleep(PAUSE_S)
        if found[0] not in read(stage, secrets).get(shop, []):
            return
    raise DeployError(
        f"other commands change the secret {stage.secret_keys_secret} all the time: run this one again"
    )


@contextmanager
def issued(stage: Stage, shop: str, secrets: Any) -> Iterator[str]:
    """Issue a key for the time of a block."""
    key = issue(stage, shop, secrets)
    try:
        yield key
    finally:
        revoke(stage, shop, digest(key), secrets)


def read(stage: Stage, secrets: Any) -> Keys:
    """Return the digests of the stage's keys by shop.

    Raises:
        DeployError: the stage is not deployed.
    """
    try:
        found = secrets.get_secret_value(SecretId=stage.secret_keys_secret)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return {}  # deployed, and no key was issued yet; if it is not deployed, writing fails
        raise
    keys: Keys = json.loads(found["SecretString"])
    return keys


def name_of(entry: dict[str, str]) -> str:
    """Return the name of a key in commands."""
    return entry["sha256"][:NAME_CHARACTERS]


def _write(stage: Stage, keys: Keys, secrets: Any) -> None:
    value = json.dumps({shop: of_shop for shop, of_shop in keys.items() if of_shop})
    try:
        secrets.put_secret_value(SecretId=stage.secret_keys_secret, SecretString=value)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise DeployError(
            f"there is no secret {stage.secret_keys_secret}: deploy the stage first, make deploy STAGE={stage.name}"
        ) from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    import boto3

    parser = stage_parser("deploy.secret_key", __doc__, "--stage dev --shop demo")
    parser.add_argument("--shop", help="issue a key for this shop of the stage")
    parser.add_argument("--revoke", metavar="NAME", help="revoke the shop's key with this name instead")
    parser.add_argument("--list", action="store_true", help="list the names of all keys instead")
    args = parser.parse_args(arguments)
    if not args.list and not args.shop:
        parser.error("name a shop with --shop, or use --list")

    def run() -> int:
        stage = read_stage(args.stage)
        secrets = boto3.Session(region_name=stage.region).client("secretsmanager")
        if args.list:
            rows = [
                (shop, name_of(entry), entry["issued_on"])
                for shop, of_shop in read(stage, secrets).items()
                for entry in of_shop
            ]
            print(table(("shop", "key", "issued on"), rows) if rows else "no secret key was issued yet")
        elif args.revoke:
            revoke(stage, args.shop, args.revoke, secrets)
            print(
                f"revoked: the collector refuses the key {args.revoke} in {REFRESH_S / 60:.0f} minutes at the latest"
            )
        else:
            key = issue(stage, args.shop, secrets)
            print(
                f"{key}\n\nThis is the secret key {digest(key)[:NAME_CHARACTERS]} of shop {args.shop}. It is shown once: "
                "store it where the shop's back end\nreads its passwords, never in a page or a repository. "
                f"It is valid in {RECHECK_S:.0f} seconds at the latest.",
            )
        return 0

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
