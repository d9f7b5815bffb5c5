"""The gate: a sound model passes, a spoilt one does not, and what cannot be judged is never let through in silence."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import sabotages
from tests.unit.training_jobs.conftest import Trained
from training_jobs.evaluate import main
from training_jobs.gate.evaluation import comparable_champion
from training_jobs.gate.thresholds import THRESHOLDS
from training_jobs.serving import model_files
from training_jobs.serving.model_files import load_card
from training_jobs.serving.sessions import DAY_MS
from training_jobs.training import model_writer

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class Verdict:
    code: int
    result: dict[str, Any]
    page: str
    said: str

    def failed(self) -> set[str]:
        return {row["name"] for row in self.result["checks"] if row["verdict"] == "failed"}

    def row(self, name: str, over: str = "all") -> dict[str, Any]:
        (found,) = [r for r in self.result["checks"] if (r["name"], r["slice"]) == (name, over)]
        return found


def arguments(trained: Trained, candidate: Path, output: Path, *more: str) -> list[str]:
    return [
        *("--candidate", str(candidate), "--interactions", str(trained.interactions)),
        *("--items", str(trained.items), "--output", str(output), "--champion", str(output / "none"), *more),
    ]


def as_job(trained: Trained, candidate: Path, output: Path, *more: str) -> Verdict:
    """As the processing job runs it: a process that leaves two files."""
    ran = subprocess.run(
        [sys.executable, "-m", "training_jobs.evaluate", *arguments(trained, candidate, output, *more)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return _read(output, ran.returncode, ran.stdout + ran.stderr)


def here(
    trained: Trained, candidate: Path, output: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> Verdict:
    """The same in this process and with fewer probes, which is quicker."""
    limits = output.parent / "fewer_probes.json"
    limits.write_text(json.dumps({**json.loads(THRESHOLDS.read_text()), "probes": 40}))
    code = main(arguments(trained, candidate, output, "--thresholds", str(limits), *more))
    captured = capsys.readouterr()
    return _read(output, code, captured.out + captured.err)


def _read(output: Path, code: int, said: str) -> Verdict:
    if not (output / "evaluation.json").exists():
        return Verdict(code, {}, "", said)
    text = (output / "evaluation.json").read_text()

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    return Verdict(
        code, json.loads(text, parse_constant=refuse), (output / "evaluation.html").read_text(), said
    )


@pytest.fixture(scope="module")
def good(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """The sound model, packed as SageMaker packs it."""
    root = tmp_path_factory.mktemp("good")
    with tarfile.open(root / "model.tar.gz", "w:gz") as tar:
        tar.add(trained.model_dir, ".")
    return as_job(trained, root, root / "output", "--snapshot-id", "snap-1")


def test_a_sound_model_passes(good: Verdict) -> None:
    assert good.code == 0, good.said
    assert good.result["failures"] == []
    assert good.result["passed"] is True
    assert good.result["override_reason"] is None
    assert (good.result["model_version"], good.result["snapshot_id"]) == ("m1", "snap-1")
    assert json.loads(good.said.splitlines()[-1]) == {"passed": True, "failures": []}
    settings = good.result["settings"]
    assert [one["epoch"] for one in settings["curve"]] == list(range(1, len(settings["curve"]) + 1))
    assert {"loss", "valid_hr_at_20"} <= settings["curve"][-1].keys()


def test_figures_are_shown_per_kind_of_the_target_where_there_are_enough_cases(good: Verdict) -> None:
    kinds, whole = good.result["target_kinds"], good.result["metrics"]
    assert {kind: found["cases"] for kind, found in kinds.items()} == {
        "view_item": good.result["cases"],
        "add_to_cart": 0,
        "purchase": 0,
    }
    assert kinds["view_item"]["models"] == {
        name: {metric: whole[name][metric] for metric in found}
        for name, found in kinds["view_item"]["models"].items()
    }
    assert set(kinds["view_item"]["models"]) == set(whole)
    assert {"hr_at_20", "mrr_at_20", "revenue_hr_at_20"} <= kinds["view_item"]["models"]["candidate"].keys()
    assert kinds["purchase"]["models"] == {}
    assert "<td>bought</td>" in good.page
    assert good.page.count("too few cases") == 2


def test_every_check_tells_value_bound_cases_and_verdict(good: Verdict) -> None:
    checks = good.result["checks"]
    assert len({row["name"] for row in checks}) >= 35
    assert len({(row["name"], row["slice"]) for row in checks}) == len(checks)
    for row in checks:
        assert set(row) == {
            "name", "slice", "against", "n", "minimum_n", "value", "bound", "comparator", "interval", "verdict", "reason",
        }  # fmt: skip
        assert row["verdict"] in ("passed", "skipped", "reported")
        assert bool(row["reason"]) == (row["verdict"] != "passed")
        if row["interval"]:
            low, high = row["interval"]
            assert low - 1e-6 <= high + 1e-6


def test_figures_of_all_models_and_slices_are_in_the_file(good: Verdict) -> None:
    figures = good.result["metrics"]
    assert set(figures) == {"candidate", "popularity", "item_to_item", "session_knn"}
    for name, row in figures.items():
        low, high = row["hr_at_20_interval"]
        assert low <= row["hr_at_20"] <= high
        assert good.result["hit_rates"][name][19] == row["hr_at_20"]
    assert figures["candidate"]["hr_at_20"] > 2 * figures["popularity"]["hr_at_20"]
    assert good.result["slices"]["length 1"]["n"] > 50
    assert sum(n for _, _, n in good.result["reliability"]) == good.result["cases"]


def test_the_file_stays_small_enough_for_the_state_machine_to_read(good: Verdict) -> None:
    assert len(json.dumps(good.result, indent=1)) < 100_000  # Step Functions takes 256 KB


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_the_page_needs_nothing_else_and_shows_every_check(good: Verdict) -> None:
    page = Page()
    page.feed(good.page)
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "url(" not in good.page
    assert "@import" not in good.page
    assert page.tags.count("svg") >= 5
    assert page.tags.count("tr") >= len(good.result["checks"])
    for row in good.result["checks"]:
        assert row["name"].replace("'", "&#39;") in good.page


def test_slices_with_too_few_cases_say_so_and_do_not_pass(good: Verdict) -> None:
    row = good.row("hr_at_20 against session_knn", "length 10+")
    assert (row["n"], row["verdict"]) == (0, "skipped")
    assert "0 cases, at least 50 are needed" in row["reason"]


@pytest.mark.parametrize(
    ("spoil", "must_fail"),
    [
        (
            "shuffled_labels",
            {"hr_at_20 against session_knn", "mrr_at_20 against item_to_item"},
        ),
        ("popularity_only", {"mrr_at_20 above popularity", "overlap of the first five of two sessions"}),
        ("truncated_vocabulary", {"items of the snapshot that the served model lacks"}),
    ],
)
def test_a_spoilt_model_is_refused(trained: Trained, tmp_path: Path, spoil: str, must_fail: set[str]) -> None:
    change = {
        "shuffled_labels": sabotages.shuffled_labels,
        "popularity_only": sabotages.popularity_only,
        "truncated_vocabulary": sabotages.truncated_vocabulary(trained.data.sessions, 40),
    }[spoil]
    candidate = sabotages.spoilt(trained.model_dir, tmp_path / "model", change)
    found = as_job(trained, candidate, tmp_path / "output")
    assert found.code == 0, found.said
    assert found.result["passed"] is False
    assert must_fail <= found.failed()
    assert all(any(name in reason for reason in found.result["failures"]) for name in must_fail)
    assert "What failed" in found.page


def test_a_served_model_other_than_the_measured_one_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = sabotages.spoilt(trained.model_dir, tmp_path / "model", sabotages.shuffled_labels, ("",))
    found = here(trained, candidate, tmp_path / "output", capsys)
    assert found.result["passed"] is False
    assert "hr_at_20 of the served model, which has seen the day" in found.failed()


def test_a_model_that_learnt_from_the_held_out_day_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.model_dir, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "holdout")
    shutil.copytree(
        trained.model_dir, tmp_path / "model" / "holdout", ignore=shutil.ignore_patterns("holdout")
    )
    for part in ("holdout", ""):
        model_writer.write_checksums(tmp_path / "model" / part)
    found = here(trained, tmp_path / "model", tmp_path / "output", capsys)
    assert {
        "training ends before the held-out day (ms)",
        "sessions in the measured model beyond those before the cut",
    } <= found.failed()


def test_files_that_answer_otherwise_than_training_did_are_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.model_dir, tmp_path / "model")
    golden = json.loads((tmp_path / "model" / "golden.json").read_text())
    for session in golden:
        session["expected"] = session["expected"][::2] + ["sku-none"] * 10
    (tmp_path / "model" / "golden.json").write_text(json.dumps(golden))
    (tmp_path / "model" / "fallback.json").unlink()
    shutil.rmtree(tmp_path / "model" / "code")
    model_writer.write_checksums(tmp_path / "model")
    found = here(trained, tmp_path / "model", tmp_path / "output", capsys)
    assert found.failed() == {
        "golden sessions answered alike",
        "golden sessions through the handlers",
        "fallback items the model does not know",
        "files of the endpoint's code",
    }


def with_stock(trained: Trained, model: Path, out_of_stock: list[str]) -> Path:
    """The trained model as it is made for a shop of which so much is out of stock."""
    shutil.copytree(trained.model_dir, model)
    model_writer.write_json(model / "out_of_stock.json", out_of_stock)
    model_writer.write_checksums(model)
    served, _ = model_files.load_recommender(model)
    asked = [one["items"] for one in json.loads((model / "golden.json").read_text())]
    model_writer.write_json(model / "golden.json", model_writer.golden_sessions(served, asked))
    model_writer.write_checksums(model)
    return model


def test_a_model_is_not_refused_because_what_was_bought_yesterday_is_sold_out(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    popular = model_files.load_recommender(trained.model_dir)[0].recommend([], 15).items
    candidate = with_stock(trained, tmp_path / "model", popular)
    found = here(trained, candidate, tmp_path / "output", capsys)
    assert found.failed() == set()


def test_a_list_that_leaves_nearly_nothing_in_stock_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = with_stock(trained, tmp_path / "model", list(trained.data.vocabulary[3:]))
    found = here(trained, candidate, tmp_path / "output", capsys)
    assert found.failed() == {"answers with five items or more, all in stock"}


@pytest.mark.parametrize("broken", ["snapshot", "vocabulary", "nothing", "data"])
def test_what_cannot_be_judged_ends_in_an_error_and_no_verdict(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    candidate, more, says = trained.model_dir, list[str](), ""
    if broken == "snapshot":
        more, says = ["--snapshot-id", "snap-2"], "trained on snapshot snap-1, not snap-2"
    elif broken == "vocabulary":
        candidate = Path(shutil.copytree(trained.model_dir, tmp_path / "model"))
        names = json.loads((candidate / "vocabulary.json").read_text())
        (candidate / "vocabulary.json").write_text(json.dumps(names[:40]))
        model_writer.write_checksums(candidate)
        says = "has files of different numbers of items"
    elif broken == "nothing":
        candidate, says = tmp_path, "check that the training job finished"
    else:
        more, says = ["--interactions", str(tmp_path)], "no parquet file"
    found = here(trained, candidate, tmp_path / "output", capsys, *more)
    assert found.code != 0
    assert says in found.said
    assert found.result == {}


def test_an_override_publishes_with_its_reason_on_record(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = sabotages.spoilt(trained.model_dir, tmp_path / "model", sabotages.popularity_only)
    reason = "launch day: <anything> beats an empty page"
    found = here(trained, candidate, tmp_path / "output", capsys, "--override-reason", reason)
    assert found.result["passed"] is True
    assert found.result["override_reason"] == reason
    assert found.result["failures"]
    assert "launch day: &lt;anything&gt; beats an empty page" in found.page


def test_an_empty_override_reason_overrides_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = sabotages.spoilt(trained.model_dir, tmp_path / "model", sabotages.popularity_only)
    found = here(trained, candidate, tmp_path / "output", capsys, "--override-reason", "  ")
    assert found.result["passed"] is False


def test_a_candidate_better_than_the_champion_passes(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    champion = sabotages.spoilt(trained.model_dir, tmp_path / "champion", sabotages.blurred(0.3))
    found = here(trained, trained.model_dir, tmp_path / "o", capsys, "--champion", str(champion))
    assert found.result["champion"] == "champion m1, its holdout variant"
    row = found.row("mrr_at_20 against champion")
    assert (row["verdict"], row["against"]) == ("passed", "champion")
    assert row["interval"][0] > 0
    assert found.result["passed"] is True


def test_a_candidate_worse_than_the_champion_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = sabotages.spoilt(trained.model_dir, tmp_path / "model", sabotages.blurred(0.3))
    found = here(trained, candidate, tmp_path / "o", capsys, "--champion", str(trained.model_dir))
    assert found.result["passed"] is False
    assert "mrr_at_20 against champion" in found.failed()


def test_a_champion_that_cannot_be_compared_is_passed_over_aloud(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    champion, says = tmp_path / "champion", "cannot be unpacked"
    champion.mkdir()
    (champion / "model.tar.gz").write_bytes(b"cut short")
    found = here(trained, trained.model_dir, tmp_path / "o", capsys, "--champion", str(champion))
    assert found.code == 0
    assert says in found.result["champion"]
    row = found.row("hr_at_20 against champion")
    assert row["verdict"] == "skipped"
    assert says in row["reason"]
    assert "champion" not in found.result["metrics"]


def test_a_champion_is_compared_only_in_a_variant_that_has_not_seen_the_day(
    trained: Trained, tmp_path: Path
) -> None:
    cut_ms = load_card(trained.model_dir).holdout_start_ms
    found, note = comparable_champion(trained.model_dir, tmp_path, cut_ms)
    assert found is not None
    assert note == "champion m1, its holdout variant"
    found, note = comparable_champion(trained.model_dir, tmp_path, cut_ms + 10 * DAY_MS)
    assert found is not None
    assert note == "champion m1 as served"
    found, note = comparable_champion(trained.model_dir, tmp_path, cut_ms - 10 * DAY_MS)
    assert found is None
    assert "it has learnt from the held-out day" in note
    for nothing in (None, tmp_path):
        assert comparable_champion(nothing, tmp_path, cut_ms) == (None, "there is no champion yet")


def test_too_few_cases_never_pass(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {**json.loads(THRESHOLDS.read_text()), "minimum_cases": 10_000, "minimum_slice_cases": 10_000}
    (tmp_path / "limits.json").write_text(json.dumps(limits))
    found = here(
        trained, trained.model_dir, tmp_path / "o", capsys, "--thresholds", str(tmp_path / "limits.json")
    )
    assert found.result["passed"] is False
    assert "hr_at_20 above popularity" in found.failed()
    assert any("cases, at least 10000 are needed to judge" in reason for reason in found.result["failures"])
    of_slices = [row for row in found.result["checks"] if row["slice"] not in ("all", "misses")]
    assert {row["verdict"] for row in of_slices} == {"skipped", "reported"}


def test_without_a_held_out_case_nothing_passes_and_the_file_is_still_json(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.model_dir, tmp_path / "model")
    late = int(trained.data.sessions.ends_ms.max()) + 1
    for part in ("holdout", ""):
        card = json.loads((tmp_path / "model" / part / "model.json").read_text())
        (tmp_path / "model" / part / "model.json").write_text(json.dumps({**card, "holdout_start_ms": late}))
        model_writer.write_checksums(tmp_path / "model" / part)
    found = here(trained, tmp_path / "model", tmp_path / "o", capsys)
    assert (found.code, found.result["cases"], found.result["passed"]) == (0, 0, False)
    assert {"hr_at_20", "answers with k distinct items", "latency p99 (CPU ms)"} <= found.failed()


def test_a_catalogue_is_not_needed(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = here(trained, trained.model_dir, tmp_path / "o", capsys, "--items", str(tmp_path / "absent"))
    assert found.result["passed"] is True
    assert "the snapshot has no catalogue" in found.row("price distance on misses")["reason"]
    assert not [row for row in found.result["checks"] if row["slice"].startswith("in category")]


def test_the_numbers_of_the_checks_are_those_of_the_cases(good: Verdict) -> None:
    row, figures = good.row("hr_at_20 above popularity"), good.result["metrics"]
    gain = figures["candidate"]["hr_at_20"] - figures["popularity"]["hr_at_20"]
    assert row["value"] == pytest.approx(gain, abs=1e-4)
    assert row["interval"][0] < gain < row["interval"][1]
    for name in ("length 1", "target in lower half"):
        sliced = good.result["slices"][name]
        row = good.row("hr_at_20 against session_knn", name)
        assert row["n"] == sliced["n"]
        assert row["value"] == pytest.approx(sliced["candidate"] - sliced["session_knn"], abs=1e-4)
    assert np.isfinite([row["value"] for row in good.result["checks"]]).all()
