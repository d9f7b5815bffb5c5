"""A model's files: what is written is what is read, and what is broken says so."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training_jobs.conftest import SMALL, Trained
from tests.unit.training_jobs.kernels import need_compiler
from training_jobs.serving import model_files
from training_jobs.serving.kernels.compiled import FILE_NAME
from training_jobs.serving.model_files import FORMAT, ArchiveError
from training_jobs.training import model_writer


@pytest.fixture
def copy(trained: Trained, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.model_dir, tmp_path / "model"))


def test_a_model_comes_back_as_it_was_written(trained: Trained, tmp_path: Path) -> None:
    served, card = model_files.load_recommender(trained.model_dir)
    model_writer.save_recommender(tmp_path, served, card)
    again, same_card = model_files.load_recommender(tmp_path)
    assert same_card == card
    assert again.settings == served.settings
    prefixes = [trained.data.sessions.session(row) for row in range(20)]
    assert np.array_equal(again.scores(prefixes), served.scores(prefixes))
    for name in ("vocabulary.json", "vectors.npy", "codes.npy", "encoder.npz", "knn/idf.npy"):
        assert (tmp_path / name).read_bytes() == (trained.model_dir / name).read_bytes()


def test_a_model_answers_by_the_kernels_that_were_compiled_for_it(trained: Trained, copy: Path) -> None:
    need_compiler()
    libraries = list(copy.glob("kernels*.so"))
    assert libraries == [copy / FILE_NAME]
    with_kernel, _ = model_files.load_recommender(copy)
    assert with_kernel.kernels.name == "compiled"
    libraries[0].unlink()
    model_writer.write_checksums(copy)
    without, _ = model_files.load_recommender(copy)
    assert without.kernels.name == "numpy"
    for session in model_files.load_golden(copy):
        found = with_kernel.recommend(session["items"], session["k"])
        again = without.recommend(session["items"], session["k"])
        assert found.items == again.items
        assert found.scores == pytest.approx(again.scores, rel=1e-5)


def test_the_card_says_what_the_model_is(trained: Trained) -> None:
    card = model_files.load_card(trained.model_dir)
    earlier = model_files.load_card(trained.model_dir / "holdout")
    assert (card.model_version, card.snapshot_id, card.items) == ("m1", "snap-1", 81)
    assert card.settings["encoder"]["dim"] == SMALL.encoder.dim
    assert card.trained_until_ms == trained.data.sessions.ends_ms.max()
    assert earlier.trained_until_ms < earlier.holdout_start_ms == card.holdout_start_ms
    assert card.metrics["hr_at_20"] > 0.5


def test_the_served_model_gives_its_golden_answers(trained: Trained) -> None:
    served, _ = model_files.load_recommender(trained.model_dir)
    golden = model_files.load_golden(trained.model_dir)
    assert len(golden) >= 20
    for session in golden:
        assert session["items"]
        assert served.recommend(session["items"], session["k"]).items == session["expected"]


def test_the_fallback_has_popular_items_and_related_ones_for_every_item_sold(trained: Trained) -> None:
    fallback = json.loads((trained.model_dir / "fallback.json").read_text())
    served, _ = model_files.load_recommender(trained.model_dir)
    assert fallback["popular"][0] == served.recommend([], 1).items[0]
    sold = {trained.data.vocabulary[row] for row in np.unique(trained.data.sessions.items)}
    assert set(fallback["related"]) == sold
    for item, related in fallback["related"].items():
        assert related[:5] == served.recommend([item], 5).items
        assert item not in related
        assert len(set(related)) == len(related) == 20


def test_a_packed_model_is_unpacked_and_an_unpacked_one_taken_as_it_is(
    trained: Trained, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(trained.model_dir, ".")
    unpacked = model_files.unpack(tmp_path, tmp_path / "out")
    assert unpacked is not None
    assert model_files.load_card(unpacked) == model_files.load_card(trained.model_dir)
    assert model_files.unpack(trained.model_dir, tmp_path / "unused") == trained.model_dir
    assert model_files.unpack(tmp_path / "out" / "code", tmp_path / "unused") is None


def test_a_tar_that_was_not_copied_whole_is_refused(trained: Trained, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(trained.model_dir, ".")
    whole = (tmp_path / "model.tar.gz").read_bytes()
    for broken in (whole[: len(whole) // 2], b"not a tar", b""):
        (tmp_path / "model.tar.gz").write_bytes(broken)
        with pytest.raises(ArchiveError, match="cannot be unpacked"):
            model_files.unpack(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["vocabulary.json", "vectors.npy", "codes.npy", "encoder.npz", "knn/idf.npy"]
)
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 broken"])
def test_a_model_with_a_file_missing_or_broken_is_refused(
    copy: Path, name: str, content: bytes | None
) -> None:
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    with pytest.raises(ArchiveError, match="does not contain a whole model"):
        model_files.load_recommender(copy)
    model_writer.write_checksums(copy)
    with pytest.raises(ArchiveError, match="does not contain a whole model"):
        model_files.load_recommender(copy)


def test_files_of_two_models_do_not_pass_for_one(copy: Path) -> None:
    vocabulary = json.loads((copy / "vocabulary.json").read_text())
    (copy / "vocabulary.json").write_text(json.dumps(vocabulary[:-1]))
    model_writer.write_checksums(copy)
    with pytest.raises(ArchiveError, match="has files of different numbers of items"):
        model_files.load_recommender(copy)


@pytest.mark.parametrize("broken", ["narrow", "wide numbers"])
def test_codes_that_are_not_of_the_vectors_are_refused(copy: Path, broken: str) -> None:
    codes = np.load(copy / "codes.npy")
    np.save(copy / "codes.npy", codes[:, :-1] if broken == "narrow" else codes.astype(np.int16))
    model_writer.write_checksums(copy)
    with pytest.raises(ArchiveError, match="does not belong to vectors"):
        model_files.load_recommender(copy)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no readable model.json"),
        ("[]", "format None"),
        ('{"format": 99}', "format 99"),
        (json.dumps({"format": FORMAT}), "no "),
    ],
)
def test_a_card_that_cannot_be_read_is_refused(copy: Path, text: str, says: str) -> None:
    (copy / "model.json").write_text(text)
    with pytest.raises(ArchiveError, match=says):
        model_files.load_card(copy)


def test_a_model_in_use_may_be_written_over(copy: Path) -> None:
    served, card = model_files.load_recommender(copy)
    before = served.recommend(["sku-020"], 20)
    model_writer.save_recommender(copy, served, card)
    assert served.recommend(["sku-020"], 20) == before
    assert not list(copy.rglob("*.partial"))


def test_ids_out_of_stock_beside_a_model_are_never_shown(copy: Path) -> None:
    shown = model_files.load_recommender(copy)[0].recommend(["sku-020"], 3).items
    model_writer.write_json(copy / "out_of_stock.json", shown)
    model_writer.write_checksums(copy)
    served, _ = model_files.load_recommender(copy)
    assert not set(shown) & set(served.recommend(["sku-020"], 80).items)
    assert not set(shown) & set(model_writer.fallback_answers(served, [5])["popular"])
    everything, _ = model_files.load_recommender(copy, stock=False)
    assert everything.recommend(["sku-020"], 3).items == shown


def test_a_shop_with_little_in_stock_has_a_short_fallback_and_no_item_that_is_gone(copy: Path) -> None:
    vocabulary = json.loads((copy / "vocabulary.json").read_text())
    model_writer.write_json(copy / "out_of_stock.json", vocabulary[:-4])
    model_writer.write_checksums(copy)
    answers = model_writer.fallback_answers(model_files.load_recommender(copy)[0], [5, len(vocabulary) - 1])
    assert set(answers["related"][vocabulary[5]]) == set(vocabulary[-4:])
    assert set(answers["related"][vocabulary[-1]]) == set(vocabulary[-4:-1])
