"""Ask the public registry for the digest of the serving image's base, and write it into the Dockerfile.

A digest always names the same content, so a rebuilt image has the same base. Security fixes come with the next digest.
https://docs.docker.com/build/building/best-practices/#pin-base-image-versions
"""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from deploy.command import DeployError, command_parser, exit_status
from deploy.serving_image import FOLDER

DOCKERFILE = FOLDER / "Dockerfile"
BASE = re.compile(
    r"^FROM (?P<registry>[^/\s]+)/(?P<name>[^:@\s]+):(?P<tag>[^@\s]+)@(?P<digest>sha256:[0-9a-f]{64})$",
    re.MULTILINE,
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# The digest of the list of all architectures, which Docker resolves to that of the building machine.
LISTS = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
SCHEME = "https"
TIMEOUT_S = 30


class RegistryError(DeployError):
    """The registry did not answer, or answered without a digest."""


def current_digest(base: Mapping[str, str]) -> str:
    """Return the digest that the base's tag has now.

    https://distribution.github.io/distribution/spec/api/#existing-manifests describes the request.

    Raises:
        RegistryError: the registry does not answer, or names no digest.
    """
    registry, name, tag = base["registry"], base["name"], base["tag"]
    try:
        # The registry gives everybody a token for reading.
        answer = _get(f"{SCHEME}://{registry}/token/?service={registry}&scope=repository:{name}:pull", {})
        token = json.loads(answer.read())["token"]
        manifest = _get(
            f"{SCHEME}://{registry}/v2/{name}/manifests/{tag}",
            {"Authorization": f"Bearer {token}", "Accept": LISTS},
        )
    except (URLError, TimeoutError, ValueError, KeyError) as error:
        raise RegistryError(
            f"{registry} gave no manifest of {name}:{tag}: {error}. Check the network and the address in {DOCKERFILE.name}, "
            "then run make base-image again"
        ) from error
    digest = str(manifest.headers.get("Docker-Content-Digest", ""))
    if not DIGEST.fullmatch(digest):
        raise RegistryError(
            f"{registry} answered without the digest of {name}:{tag}: take it from the registry's page"
        )
    return digest


def _get(url: str, headers: dict[str, str]) -> Any:
    return urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)


def base_of(dockerfile: str) -> dict[str, str]:
    """Return registry, name, tag and digest of a Dockerfile's base.

    Raises:
        RegistryError: the Dockerfile has no base with a digest.
    """
    found = BASE.search(dockerfile)
    if not found:
        raise RegistryError(
            f"{DOCKERFILE.name} has no line FROM registry/name:tag@sha256:digest: write one, with any digest, and run "
            "make base-image"
        )
    return found.groupdict()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = command_parser("deploy.base_image", __doc__, "--check")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the tag has another digest"
    )
    args = parser.parse_args(arguments)
    return exit_status(lambda: _run(args.check))


def _run(only_check: bool) -> int:
    text = DOCKERFILE.read_text()
    base = base_of(text)
    image, digest = f"{base['name']}:{base['tag']}", current_digest(base)
    if digest == base["digest"]:
        print(f"{image} is {digest}, as {DOCKERFILE.name} says")
        return 0
    if only_check:
        print(f"{image} is {digest} now. Write it: make base-image, then make deploy", file=sys.stderr)
        return 1
    DOCKERFILE.write_text(text.replace(base["digest"], digest))
    print(f"wrote {digest} into {DOCKERFILE.name}; the next make deploy builds the image anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
