"""The benchmark on generated directories, in each of its layouts."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import next_item
from benchmarks.next_item_layouts import load
from benchmarks.next_item_training import QUICK, choose_recipe, train_encoder
from training_jobs.training.fit_encoder import Epoch, FitSettings

ITEMS = 24


def walks(n: int, seed: int) -> list[list[int]]:
    """Make sessions that walk around a ring of items, with one or two steps per click."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(0, ITEMS, n), rng.integers(3, 7, n)
    return [
        [int(item) + 1 for item in (start + np.cumsum(rng.integers(1, 3, length))) % ITEMS]
        for start, length in zip(starts, lengths, strict=True)
    ]


def write(path: Path, text: str) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(text)


def events(sessions: list[list[int]], first: int) -> str:
    lines = ["SessionId\tItemId\tTime"]
    lines += [
        f"{first + at}\t{item}\t{1_600_000_000 + 1000 * (first + at) + place}"
        for at, session in enumerate(sessions)
        for place, item in enumerate(session)
    ]
    return "\n".join(lines) + "\n"


def events_layout(directory: Path) -> int:
    test = walks(20, 3)
    write(directory / "train.tsv.gz", events(walks(150, 1), 0))
    write(directory / "valid.tsv.gz", events(walks(20, 2), 150))
    write(directory / "test.tsv.gz", events(test, 170))
    return sum(len(session) - 1 for session in test)


def prefixes_layout(directory: Path) -> int:
    write(directory / "train_sessions.txt.gz", "".join(" ".join(map(str, s)) + "\n" for s in walks(300, 1)))
    test = walks(20, 3)
    pairs = [(s[:at], s[at]) for s in test for at in range(1, len(s))]
    lines = "".join(" ".join(map(str, prefix)) + f"\t{target}\n" for prefix, target in pairs)
    write(directory / "test_prefix_target.tsv.gz", lines)
    return len(pairs)


def users_layout(directory: Path) -> int:
    histories = walks(150, 1)
    write(
        directory / "Ring.txt.gz",
        "".join(f"{u} " + " ".join(map(str, h)) + "\n" for u, h in enumerate(histories)),
    )
    return len(histories)


@pytest.mark.parametrize("layout", [events_layout, prefixes_layout, users_layout])
def test_every_model_has_a_whole_row_for_data_never_seen(
    layout: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = layout(tmp_path)  # type: ignore[operator]
    assert next_item.main(["--data", str(tmp_path), "--budget-s", "1", "--bootstrap", "20"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["model"] for row in rows] == [
        "popularity",
        "session_popularity",
        "item_to_item",
        "vmis_knn",
        "session_knn",
        "neural",
        "blend",
    ]
    figures = [f"hr_at_{k}" for k in (1, 5, 10, 20)] + [
        f"{name}_at_{k}" for name in ("mrr", "ndcg") for k in (10, 20)
    ]
    for row in rows:
        assert row["cases"] == cases
        assert all(0.0 <= row[figure] <= 1.0 for figure in figures)
        for figure in ("hr_at_20", "mrr_at_20"):
            low, high = row[f"{figure}_interval"]
            assert low <= row[figure] + 1e-4
            assert row[figure] <= high + 1e-4
        lengths = [s["cases"] for name, s in row["slices"].items() if name.startswith("length")]
        assert sum(lengths) == cases
        assert {"command", "at", "machine", "coverage", "popularity_ratio", "seed", "settings"} <= set(row)
        assert row["train_seconds"] >= 0
    assert rows[-1]["hr_at_5"] > rows[0]["hr_at_5"]


def test_with_several_seeds_the_means_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefixes_layout(tmp_path)
    next_item.main(["--data", str(tmp_path), "--budget-s", "1", "--bootstrap", "5", "--seeds", "2"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    of_blend = [row for row in rows if row["model"] == "blend"]
    assert [row["seed"] for row in of_blend] == [0, 1, "mean"]
    assert of_blend[2]["mrr_at_20"] == pytest.approx(
        np.mean([row["mrr_at_20"] for row in of_blend[:2]]), abs=1e-5
    )


def test_a_directory_in_no_layout_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clicks.csv").write_text("a,b\n")
    assert next_item.main(["--data", str(tmp_path)]) == 1
    assert "none of the known layouts" in capsys.readouterr().err
    assert next_item.main(["--data", str(tmp_path / "absent")]) == 1


def test_validation_comes_out_of_training_and_the_test_stays_apart(tmp_path: Path) -> None:
    prefixes_layout(tmp_path)
    bench = load(tmp_path)
    assert len(bench.learn) == 225
    assert len(bench.train) == 300
    assert bench.learn.ends_ms.max() <= bench.train.ends_ms[225]
    assert len(bench.valid) == int((bench.train.lengths[225:] - 1).sum())


def test_a_validation_file_lengthens_the_tail_of_training(tmp_path: Path) -> None:
    events_layout(tmp_path)
    bench = load(tmp_path)
    cut = len(bench.learn)
    assert (cut, len(bench.train)) == (113, 150)
    own, beside = bench.train.lengths[cut:], [len(session) for session in walks(20, 2)]
    assert len(bench.valid) == int((own - 1).sum()) + sum(beside) - len(beside)
    assert len(np.unique(bench.valid.session)) == len(own) + len(beside)


def test_a_recipe_for_which_no_time_is_left_is_not_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users_layout(tmp_path)
    long = type(QUICK)("long", QUICK.encoder, FitSettings(epochs=10**6))
    recipe, trials = choose_recipe(load(tmp_path), 0, 2.0, (QUICK, long))
    assert recipe.name == "quick"
    assert [trial["recipe"] for trial in trials] == ["quick"]
    assert "long is not tried" in capsys.readouterr().err


def test_settings_are_chosen_with_an_encoder_that_the_tail_is_kept_from_and_the_last_one_learns_it(
    tmp_path: Path,
) -> None:
    prefixes_layout(tmp_path)
    with gzip.open(tmp_path / "train_sessions.txt.gz", "at", encoding="utf-8") as file:
        file.write(f"{ITEMS + 1} {ITEMS + 2}\n")  # the newest session, with new items
    write(tmp_path / "test_prefix_target.tsv.gz", f"{ITEMS + 1}\t{ITEMS + 2}\n")
    reported: list[Epoch] = []
    trained = train_encoder(load(tmp_path), QUICK, 0, 60.0, reported.append)
    assert not trained.chosen_with.vectors[ITEMS + 1 :].any()
    assert trained.final.vectors[ITEMS + 1 :].any(axis=1).all()
    assert [epoch.epoch for epoch in reported] == [1, 2, 1, 2, 3]
    assert trained.epochs == reported[2:]
