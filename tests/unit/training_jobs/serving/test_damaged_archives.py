"""A damaged archive is refused or answers as before. Values that no model has are refused even with correct checksums."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs.conftest import Trained
from training_jobs.serving import checksums, model_files
from training_jobs.serving.model_files import ArchiveError
from training_jobs.training import model_writer

Damage = Callable[[Path], None]
# The fixture is shared by the examples, and each example repairs what it damaged.
in_place = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def archive(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained.model_dir, tmp_path_factory.mktemp("archive") / "model"))


@pytest.fixture(scope="module")
def files(archive: Path) -> list[Path]:
    return sorted(path for path in archive.rglob("*") if path.is_file() and "code" not in path.parts)


@pytest.fixture
def copy(archive: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(archive, tmp_path / "model"))


def put_file(path: Path, content: bytes) -> None:
    """Write a new file under this name: a model that was loaded before still maps the old one."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def answers(directory: Path) -> list[Any]:
    """Load an archive as the gate does, and return its answers."""
    found = []
    golden = model_files.load_golden(directory)[:3]
    for part in (directory, directory / "holdout"):
        served, card = model_files.load_recommender(part)
        found += [card, *(served.recommend(session["items"], 5) for session in golden)]
    return [golden, *found]


def refused_or_the_same(archive: Path, whole: dict[Path, bytes], expected: list[Any]) -> None:
    try:
        assert answers(archive) == expected
    except ArchiveError:
        pass
    finally:
        for path, content in whole.items():
            put_file(path, content)


@pytest.fixture(scope="module")
def expected(archive: Path) -> list[Any]:
    return answers(archive)


@in_place
@given(which=st.integers(0), place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_byte_that_changes(
    archive: Path, files: list[Path], expected: list[Any], which: int, place: float, mask: int
) -> None:
    path = files[which % len(files)]
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(place * len(damaged))] ^= mask
    put_file(path, bytes(damaged))
    refused_or_the_same(archive, {path: whole}, expected)


@in_place
@given(which=st.integers(0), kept=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut(
    archive: Path, files: list[Path], expected: list[Any], which: int, kept: float
) -> None:
    path = files[which % len(files)]
    whole = path.read_bytes()
    put_file(path, whole[: int(kept * len(whole))])
    refused_or_the_same(archive, {path: whole}, expected)


@in_place
@given(first=st.integers(0), second=st.integers(0))
def test_two_files_that_are_swapped(
    archive: Path, files: list[Path], expected: list[Any], first: int, second: int
) -> None:
    one, other = files[first % len(files)], files[second % len(files)]
    whole = {one: one.read_bytes(), other: other.read_bytes()}
    put_file(one, whole[other])
    put_file(other, whole[one])
    refused_or_the_same(archive, whole, expected)


def array(name: str, change: Callable[[Any], Any]) -> Damage:
    """Store a changed array, as a faulty writer would."""

    def damage(directory: Path) -> None:
        path = directory / name
        np.save(path, change(np.load(path)))

    return damage


def put(place: int, value: float) -> Callable[[Any], Any]:
    def change(numbers: Any) -> Any:
        numbers.reshape(-1)[place] = value
        return numbers

    return change


def blend(**changed: Any) -> Damage:
    """Store changed settings of the blend; a name that begins with `knn_` is one of session-kNN's."""

    def damage(directory: Path) -> None:
        card = json.loads((directory / "model.json").read_text())
        for name, value in changed.items():
            if name in card["settings"]["blend"]:
                card["settings"]["blend"][name] = value
            else:
                card["settings"]["blend"]["knn"][name] = value
        (directory / "model.json").write_text(json.dumps(card))

    return damage


def packed(name: str, change: Callable[[dict[str, Any]], None]) -> Damage:
    """Store changed arrays of an .npz."""

    def damage(directory: Path) -> None:
        with np.load(directory / name) as file:
            arrays = dict(file)
        change(arrays)
        np.savez(directory / name, **arrays)

    return damage


def vocabulary(change: Callable[[list[Any]], list[Any]]) -> Damage:
    def damage(directory: Path) -> None:
        path = directory / "vocabulary.json"
        model_writer.write_json(path, change(json.loads(path.read_text())))

    return damage


WRONG: dict[str, Damage] = {
    "sessions that do not exist": array("knn/posting_sessions.npy", lambda ids: np.full_like(ids, 1_000_000)),
    "a negative session": array("knn/posting_sessions.npy", put(0, -1)),
    "items that do not exist": array("knn/session_items.npy", put(-1, 81)),
    "a negative item": array("knn/session_items.npy", put(0, -1)),
    "offsets beyond the items": array("knn/session_offsets.npy", put(3, 10_000_000)),
    "offsets that fall": array("knn/posting_offsets.npy", put(2, -5)),
    "offsets that begin late": array("knn/posting_offsets.npy", put(0, 1)),
    "offsets that end early": array("knn/session_offsets.npy", put(-1, 1)),
    "offsets in int32": array("knn/posting_offsets.npy", lambda offsets: offsets.astype(np.int32)),
    "offsets in two dimensions": array("knn/posting_offsets.npy", lambda offsets: offsets[None]),
    "no offsets": array("knn/session_offsets.npy", lambda offsets: offsets[:0]),
    "an idf that is no number": array("knn/idf.npy", put(1, np.nan)),
    "a session from the future": array("knn/session_age_days.npy", put(0, -1e6)),
    "ages of other sessions": array("knn/session_age_days.npy", lambda ages: ages[:-1]),
    "an infinite vector": array("vectors.npy", put(5, np.inf)),
    "vectors in one dimension": array("vectors.npy", lambda vectors: vectors[:, 0]),
    "a scale that is no number": array("scales.npy", put(0, np.nan)),
    "a popularity that is no number": array("popularity.npy", put(0, np.nan)),
    "a popularity of texts": array("popularity.npy", lambda popularity: popularity.astype("U8")),
    "facts of two columns": array("facts.npy", lambda facts: facts[:, :2]),
    "facts that are no numbers": array("facts.npy", put(0, np.nan)),
    "no neighbors": blend(neighbours=0),
    "no last items": blend(last_items=0),
    "a number of sessions that no memory holds": blend(recent_sessions=10**12),
    "half a neighbor": blend(neighbours=0.5),
    "a decay that is no number": blend(age_decay_days=float("nan")),
    "a weight above 1": blend(knn_weight=1.5),
    "one floor of returns": blend(return_floor=[0.1]),
    "heads that do not divide the dimension": packed(
        "encoder.npz", lambda one: one.update(heads=np.int64(5))
    ),
    "no heads": packed("encoder.npz", lambda one: one.update(heads=np.int64(0))),
    "a temperature of 0": packed("encoder.npz", lambda one: one.update(temperature=np.float64(0))),
    "no position": packed("encoder.npz", lambda one: one.__delitem__("tensor/position")),
    "positions of another dimension": packed(
        "encoder.npz", lambda one: one.update({"tensor/position": one["tensor/position"][:, :-1]})
    ),
    "a tensor whose products overflow": packed(
        "encoder.npz", lambda one: one.update({"tensor/pool.weight": one["tensor/pool.weight"] * 1e30})
    ),
    "no layer's output": packed("encoder.npz", lambda one: one.__delitem__("tensor/layers.0.out.bias")),
    "a network of another size": packed("ranker.npz", lambda one: one.update(second=one["second"][:, :-1])),
    "an id twice": vocabulary(lambda ids: [ids[1], *ids[1:]]),
    "an id that is a list": vocabulary(lambda ids: [[], *ids[1:]]),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_no_model_has_are_refused_although_their_checksums_are_right(
    copy: Path, name: str
) -> None:
    WRONG[name](copy)
    model_writer.write_checksums(copy)
    with pytest.raises(ArchiveError, match=r"[Tt]rain"):
        model_files.load_recommender(copy)


def test_an_archive_of_before_the_checksums_is_read_with_a_warning(
    copy: Path, expected: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (copy / "model.json", copy / "holdout" / "model.json"):
        card = json.loads(path.read_text())
        del card["files_sha256"], card["card_sha256"]
        path.write_text(json.dumps(card))
    assert answers(copy) == expected
    warned = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["event"] for one in warned] == ["the archive has no checksums"] * 2
    array("knn/posting_sessions.npy", put(0, 1_000_000))(copy)
    with pytest.raises(ArchiveError, match="posting_sessions"):
        model_files.load_recommender(copy)


@pytest.mark.parametrize("field", ["files_sha256", "card_sha256"])
def test_one_damaged_byte_cannot_turn_the_checksums_off(copy: Path, field: str) -> None:
    card = (copy / "model.json").read_text()
    (copy / "model.json").write_text(card.replace(field, field.upper()))
    with pytest.raises(ArchiveError):
        model_files.load_recommender(copy)


@pytest.mark.parametrize("name", ["kernels-x86_64.so", "out_of_stock.json", "code/training_jobs/new.py"])
def test_a_file_that_is_not_listed_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    model_writer.write_checksums(copy)
    (copy / name).write_text("[]")
    with pytest.raises(ArchiveError, match="not listed"):
        model_files.load_recommender(copy)


@pytest.mark.parametrize("name", ["/dev/zero", "../outside"])
def test_a_list_does_not_lead_out_of_the_archive(copy: Path, name: str) -> None:
    card = json.loads((copy / "model.json").read_text())
    card["files_sha256"][name] = "0" * 64
    fields = {key: value for key, value in card.items() if key != "card_sha256"}
    card["card_sha256"] = checksums.of_fields(fields)
    (copy / "model.json").write_text(json.dumps(card))
    with pytest.raises(ArchiveError, match="outside the archive"):
        model_files.load_recommender(copy)
