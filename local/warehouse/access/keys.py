"""Key pairs of users: the account's first users, and the check of a login's signed token.

https://docs.snowflake.com/en/user-guide/key-pair-auth
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.warehouse.access import errors
from local.warehouse.access.account import ACCOUNTADMIN, Account, Thing

ADMINISTRATOR = "ADMINISTRATOR"


def first_users(account: Account, state: Path, users: Mapping[str, str]) -> None:
    """Create an administrator and the given users with one role each. STATE/<user>.pem holds a user's private key.

    A new Snowflake account comes with the first, and docs/deploy.md has an administrator create the other.
    The local Secrets Manager loses its secrets at every stop, so each start makes the keys of the files valid again.
    """
    for user, role in {ADMINISTRATOR: ACCOUNTADMIN, **users}.items():
        file = state / f"{user}.pem"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_bytes(_new_private_key())
        with account.change():
            account.create(Thing("ROLE", role), "SECURITYADMIN")
            account.create(Thing("USER", user), ACCOUNTADMIN, {"TYPE": "SERVICE"})
            account.objects[Thing("USER", user)].properties["RSA_PUBLIC_KEY"] = _public_key(file.read_bytes())
            account.parents[Thing("USER", user)].add(role)


def fingerprint(public_key: str) -> str:
    """Return the fingerprint of a public key, given as base64 or PEM.

    Raises:
        ProgrammingError: the text is no public key.
    """
    return "SHA256:" + base64.b64encode(hashlib.sha256(_der(public_key)).digest()).decode()


def token_is_valid(account: Account, user: str, token: str) -> bool:
    """Return True if the token is signed by one of the user's two keys and has not expired."""
    entry = account.objects.get(Thing("USER", user))
    keys = [entry.properties.get(name) for name in ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2")] if entry else []
    for key in keys:
        if not key:
            continue
        public: Any = serialization.load_der_public_key(_der(key))
        try:
            claims = jwt.decode(token, public, algorithms=["RS256"])
        except jwt.InvalidTokenError:
            continue
        if claims.get("iss", "").endswith(f".{user}.{fingerprint(key)}"):
            return True
    return False


def _der(public_key: str) -> bytes:
    lines = [line for line in public_key.splitlines() if "-----" not in line]
    try:
        der = base64.b64decode("".join(lines).replace(" ", ""), validate=True)
        serialization.load_der_public_key(der)
    except (binascii.Error, ValueError) as error:
        raise errors.invalid(
            "New public key rejected by current policy. Reason: 'Invalid public key'"
        ) from error
    return der


def _new_private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_key(private_key: bytes) -> str:
    public = serialization.load_pem_private_key(private_key, password=None).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
