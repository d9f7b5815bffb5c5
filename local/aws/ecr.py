"""ECR with images that run: each tag refers to a folder that local/aws/images.py built.

moto 5.2.5 keeps manifests in memory only. It refuses to delete the repository of a stack that contains images, although the
template sets EmptyOnDelete. After a restart, the next deployment creates repositories again, and their images reappear.
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
# The only manifest type that SageMaker accepts.
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """The images of all repositories."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def push(self, address: str, image: images.Image) -> None:
        """Store an image under its tag.

        Raises:
            LookupError: the repository does not exist.
            ImageAlreadyExistsException: the tag exists, and the tags of this repository are immutable.
        """
        host, _, rest = address.partition("/")
        repository, _, tag = rest.partition(":")
        if host != HOST or repository not in backend().repositories:
            raise LookupError(f"name unknown: the repository {host}/{repository} does not exist")
        _put(repository, tag, image.root)
        self._journal.put(repository, tag, str(image.root))

    def find(self, address: str) -> images.Image | None:
        """Return the image at an address, or None."""
        repository, _, tag = address.removeprefix(f"{HOST}/").partition(":")
        root = self._journal.all(repository).get(tag)
        return images.load(Path(root)) if root else None

    def restore(self, repository: str) -> None:
        """Store the images again that a repository of this name contained."""
        for tag, root in self._journal.all(repository).items():
            _put(repository, tag, Path(root))

    def forget(self, repository: str) -> None:
        """Remove all images of a repository."""
        for tag in self._journal.all(repository):
            self._journal.remove(repository, tag)


def backend() -> models.ECRBackend:
    """Return moto's ECR."""
    return models.ecr_backends[ACCOUNT_ID][REGION]


def install(settings: Settings) -> Registry:
    """Patch moto's repositories."""
    registry = Registry(Journal(settings.state / "ecr.json"))
    create = models.ECRBackend.create_repository
    delete = models.ECRBackend.delete_repository

    def create_repository(
        self: models.ECRBackend, repository_name: str, *args: Any, **kwargs: Any
    ) -> models.Repository:
        repository = create(self, repository_name, *args, **kwargs)
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
        cls: type[models.Repository], name: str, cloudformation_json: Any, *args: Any, **kwargs: Any
    ) -> Any:
        repository = original(cls, name, cloudformation_json, *args, **kwargs)
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
