"""ECR whose images can be run: each tag stands for a folder that local/aws/images.py made.

moto 5.2.5 keeps manifests only, forgets them with the process, and refuses to delete a stack's repository with images
in it although the template says EmptyOnDelete. Repositories come back with the deployment, as all of a stack does, and
find their images again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from moto.ecr import models

from local.aws import images
from local.aws.journal import Journal
from local.aws.settings import ACCOUNT_ID, REGION, Settings

HOST = f"{ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com"
# The one kind that SageMaker takes.
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """The images of every repository."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def push(self, address: str, image: images.Image) -> None:
        """Puts an image under its tag.

        Raises:
            LookupError: there is no such repository.
            ImageAlreadyExistsException: the tag is taken, and tags of this repository never change.
        """
        host, _, rest = address.partition("/")
        repository, _, tag = rest.partition(":")
        if host != HOST or repository not in backend().repositories:
            raise LookupError(f"name unknown: the repository {host}/{repository} does not exist")
        _put(repository, tag, image.root)
        self._journal.put(repository, tag, str(image.root))

    def find(self, address: str) -> images.Image | None:
        """The image at an address."""
        repository, _, tag = address.removeprefix(f"{HOST}/").partition(":")
        root = self._journal.all(repository).get(tag)
        return images.load(Path(root)) if root else None

    def restore(self, repository: str) -> None:
        """Puts the images back that a repository of this name had."""
        for tag, root in self._journal.all(repository).items():
            _put(repository, tag, Path(root))

    def forget(self, repository: str) -> None:
        """Drops a repository's images."""
        for tag in self._journal.all(repository):
            self._journal.remove(repository, tag)


def backend() -> models.ECRBackend:
    """ECR itself."""
    return models.ecr_backends[ACCOUNT_ID][REGION]


def install(settings: Settings) -> Registry:
    """Patches moto's repositories."""
    registry = Registry(Journal(settings.state / "ecr.json"))
    create = models.ECRBackend.create_repository
    delete = models.ECRBackend.delete_repository

    def create_repository(
        self: models.ECRBackend, repository_name: str, *given: Any, **named: Any
    ) -> models.Repository:
        repository = create(self, repository_name, *given, **named)
        registry.restore(repository_name)
        return repository

    def delete_repository(
        self: models.ECRBackend, repository_name: str, registry_id: str | None = None, force: bool = False
    ) -> models.Repository:
        repository = delete(self, repository_name, registry_id, force)
        registry.forget(repository_name)
        return repository

    models.ECRBackend.create_repository = create_repository
    models.ECRBackend.delete_repository = delete_repository
    _empty_on_delete()
    return registry


def _empty_on_delete() -> None:
    original = models.Repository.create_from_cloudformation_json.__func__

    def create(
        cls: type[models.Repository], name: str, cloudformation_json: Any, *rest: Any, **named: Any
    ) -> Any:
        repository = original(cls, name, cloudformation_json, *rest, **named)
        repository.empty_on_delete = cloudformation_json["Properties"].get("EmptyOnDelete") in (True, "true")
        return repository

    def delete(self: models.Repository, account_id: str, region_name: str) -> None:
        force = getattr(self, "empty_on_delete", False)
        models.ecr_backends[account_id][region_name].delete_repository(self.name, force=force)

    models.Repository.create_from_cloudformation_json = classmethod(create)
    models.Repository.delete = delete


def _put(repository: str, tag: str, root: Path) -> None:
    digest = f"sha256:{hashlib.sha256(root.name.encode()).hexdigest()}"
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [{"digest": digest}]}
    backend().put_image(repository, json.dumps(manifest), tag)
