"""Fuzz PUT /catalogue: what it accepts is stored, and the Lambda catalogue can fold it into the state of the shop."""

import gzip
import json

from benchmarks.fuzz_checks import Failed, Findings, Stored, compare, told
from benchmarks.fuzz_in_process import Door, api_variables
from functions.catalogue.catalogue import catalogue
from functions.platform.catalogue_state import unpack
from functions.platform.contract import CATALOGUE_CLAIMS_PREFIX, CATALOGUE_PREFIX, CATALOGUE_STATES_PREFIX
from functions.platform.settings import CatalogueSettings
from local.aws.proxy_event import Request

STATUSES = {200, 400, 401, 409, 413}


class CatalogueDoor:
    """PUT /catalogue, and the Lambda behind it."""

    def __init__(self, door: Door) -> None:
        variables = api_variables()
        self._door, self._s3 = door, door.s3
        self._settings = CatalogueSettings(
            variables["TUGBOAT_EVENTS_BUCKET"], variables["TUGBOAT_MODELS_BUCKET"]
        )

    def check(self, endpoint: str, number: int, request: Request, findings: Findings) -> None:
        """Answer a request, fold what it stored, and add both to the findings.

        Raises:
            Failed: the response breaks a rule, or what was stored is not in the state afterwards.
        """
        answered = self._door.ask(request)
        if answered.response.status not in STATUSES:
            raise Failed(f"status {answered.response.status}: {answered.response.body[:200]!r}")
        promised = told(endpoint, answered.response)
        stored = self._folded()
        compare(Stored(bool(promised.accepted), ()), Stored(stored, ()))
        findings.add(answered.response, promised)

    def _folded(self) -> bool:
        """Fold the new files, compare the state with their lines, and remove both. Return True if there was any file."""
        keys = [key for _, key in self._s3.objects if key.startswith(CATALOGUE_PREFIX)]
        try:
            for key in keys:
                self._fold(key)
        finally:
            mine = (CATALOGUE_PREFIX, CATALOGUE_CLAIMS_PREFIX, CATALOGUE_STATES_PREFIX)
            for bucket, key in list(self._s3.objects):
                if key.startswith(mine):
                    del self._s3.objects[bucket, key]
        return bool(keys)

    def _fold(self, key: str) -> None:
        try:
            catalogue({"key": key}, self._settings, self._s3)
        except Exception as error:  # whatever it is, one line of a shop would stop all its changes
            raise Failed(f"the file cannot be folded: {type(error).__name__}: {error}") from error
        self._compare_state(key)

    def _compare_state(self, key: str) -> None:
        body = gzip.decompress(self._s3.objects[self._settings.events_bucket, key])
        lines = [json.loads(line) for line in body.splitlines()]
        # A deleted product stays in the state, as deleted.
        kept = {line["item_id"] for line in lines}
        (packed,) = (
            one for (_, name), one in self._s3.objects.items() if name.startswith(CATALOGUE_STATES_PREFIX)
        )
        if (found := set(unpack(packed).items())) != kept:
            raise Failed(f"the state has {sorted(found)}, the file {sorted(kept)}")
