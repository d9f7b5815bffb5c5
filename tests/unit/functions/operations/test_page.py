"""The HTML of the page: what it says, where it links, and that nothing becomes markup."""

import json
import re
from datetime import timedelta
from html.parser import HTMLParser

import msgspec
import pytest
from botocore.exceptions import NoCredentialsError

from functions.operations.gather import gather
from functions.operations.operations import operations
from functions.operations.page import comparable, figure, percent, render, took
from functions.operations.verdict import judge
from functions.platform.contract import (
    EVALUATIONS_PREFIX,
    METRICS_NAMESPACE,
    OPERATIONS_PAGE_KEY,
    VALIDATION_REPORTS_PREFIX,
)
from functions.platform.s3_keys import current_key
from functions.platform.settings import ShopIds
from testing.operations_services import (
    MODELS_BUCKET,
    NOW,
    SETTINGS,
    Services,
    a_well_shop,
    add_run,
    add_shop,
    add_warning,
    hourly,
    refuse,
    release,
)

ODD = '<img src=x onerror="alert(1)">'


class Outline(HTMLParser):
    """The ids, the links within the page, those to reports, and the addresses that a page would load."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.reports: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        if named.get("id"):
            self.ids.append(str(named["id"]))
        address = str(named.get("href") or named.get("src") or "")
        if address.startswith("#"):
            self.links.append(address[1:])
        elif tag == "a":
            self.reports.append(address)
        elif address and not address.startswith("data:"):
            self.loads.append(address)


def document(services: Services) -> str:
    page = gather(SETTINGS, services.clients, NOW)
    return render(page, judge(page))


@pytest.fixture(scope="module")
def well() -> str:
    return document(a_well_shop(9))


def test_the_first_line_answers_the_question(well: str) -> None:
    (heading,) = re.findall(r"<h1>(.*?)</h1>", well)
    assert re.sub(r"<[^>]+>", "", heading).startswith("Is the shop well? Yes: the last run succeeded")


def test_every_link_leads_to_a_part_of_the_page_or_to_a_report_and_nothing_is_loaded(well: str) -> None:
    outline = Outline(well)
    assert [link for link in outline.links if link not in outline.ids] == []
    assert outline.loads == []
    assert outline.reports != []
    assert len(outline.ids) == len(set(outline.ids))
    assert "url(" not in well


def test_a_run_links_to_its_artifacts_and_they_link_to_the_run(well: str) -> None:
    services = a_well_shop(9)
    run_id = services.states.executions[-1].run_id
    card = well[well.index(f'<details id="run-{run_id}"') :]
    card = card[: card.index("</details>")]
    for kind in ("snapshot", "code", "image", "model", "release"):
        (target,) = re.findall(rf'href="#({kind}-[^"]+)"', card)
        row = re.search(
            rf'<tr(?: id="{target}")?>(?:(?!</tr>).)*?</tr>', _after(well, f'id="{target}"'), re.DOTALL
        )
        assert row is not None
        assert f'href="#run-{run_id}"' in row[0], kind


def test_both_reports_of_a_run_are_links_whose_lifetime_is_stated() -> None:
    services = a_well_shop(1)
    run_id = services.states.executions[0].run_id
    page = gather(SETTINGS, services.clients, NOW, link_hours=3)
    text = render(page, judge(page))
    assert set(Outline(text).reports) == {
        f"https://{MODELS_BUCKET}/{EVALUATIONS_PREFIX}{run_id}/evaluation.html?expires=10800&type=text/html; charset=utf-8",
        f"https://{MODELS_BUCKET}/{VALIDATION_REPORTS_PREFIX}{run_id}.html?expires=10800&type=text/html; charset=utf-8",
    }
    assert "valid until <time" in text
    assert f"{NOW + timedelta(hours=3):%Y-%m-%d %H:%M}</time>, or until the credentials" in text


def test_a_run_that_ended_before_its_reports_has_no_link() -> None:
    services = Services()
    add_run(services, NOW - timedelta(hours=1), fails_in="Load")
    assert Outline(document(services)).reports == []


def test_without_signatures_the_reports_are_named_by_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    services = a_well_shop(1)

    def no_credentials(*_: object, **__: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(services.s3, "generate_presigned_url", no_credentials)
    page = document(services)
    assert "This part could not be read: Unable to locate credentials" in page
    assert f'<span class="id">s3://{MODELS_BUCKET}/{EVALUATIONS_PREFIX}' in page


def test_a_verdict_stands_beside_the_figures_of_the_baselines(well: str) -> None:
    gate = well[well.index('id="gate"') : well.index('id="alarms"')]
    assert ">session-kNN</th>" in gate
    assert "0.371, 0.155" in gate


def test_a_warning_of_the_gate_is_in_the_run_and_in_the_table_of_the_gate() -> None:
    services = a_well_shop(1)
    add_warning(services, services.states.executions[0], "the lead falls")
    page = document(services)
    assert "warned: the lead falls" in page
    assert "the lead falls" in page[page.index('id="gate"') : page.index('id="alarms"')]


def test_a_warning_of_the_data_checks_is_listed_with_its_finding() -> None:
    services = a_well_shop(1)
    add_shop(services, "second", services.states.executions[0], failed="device_is_known", verdict="warned")
    data = document(services)
    data = data[data.index("Findings of the data checks") : data.index('id="gate"')]
    assert "device_is_known" in data
    assert "too few" in data
    assert 'class="tag warn">warned' in data


def test_the_only_run_has_no_usual_duration() -> None:
    page = document(a_well_shop(1))
    assert "The only run" in page
    assert "no run before" in page


def _after(text: str, mark: str) -> str:
    """Return the text from the row with the mark on."""
    return text[text.rindex("<tr", 0, text.index(mark)) :]


def test_a_release_whose_run_is_no_longer_listed_is_shown() -> None:
    services = a_well_shop(2)
    services.states.executions = services.states.executions[1:]
    page = document(services)
    assert "no longer listed" in page


def test_text_of_the_services_never_becomes_markup() -> None:
    services = a_well_shop(3)
    add_run(services, NOW - timedelta(hours=1), 7, fails_in="Load", cause=f"file {ODD} </script>")
    page = document(services)
    assert ODD not in page
    assert page.count("</script>") == 2
    assert "img" not in Outline(page).tags


def test_without_data_it_says_so_and_shows_no_zero() -> None:
    page = document(Services())
    assert "No run yet." in page
    assert "CloudWatch has no value of the last day." in page
    tile = re.search(r"<dt>Recommendations, 24 h</dt><dd>(.*?)<", page)
    assert tile is not None
    assert tile[1].strip() == "no data"


def test_a_part_that_cannot_be_read_says_so_in_its_place() -> None:
    services = a_well_shop(2)
    services.cloudwatch.before_call = refuse
    page = document(services)
    serving = page[page.index('id="serving"') : page.index('id="data"')]
    assert "This part could not be read: An error occurred (AccessDeniedException)" in serving
    assert "It serves the release on record." in serving


def test_results_of_steps_without_their_fields_leave_gaps_and_no_error() -> None:
    parts = {
        "Load": {"rows_loaded": 3},
        "Validate": {"passed": True},
        "Export": {"sessions": 1},
        "Publish": {"model_name": "m"},
        "Prove": {},
    }
    services = a_well_shop(2)
    for run in services.states.executions:
        for event in run.history:
            details = event.get("stateExitedEventDetails", {})
            if details.get("name") in parts:
                details["output"] = json.dumps(parts[details["name"]])
    page = document(services)
    assert "3 events from no data files" in page
    assert "no data interactions, 1 sessions" in page


def test_the_comparison_has_data_settings_metrics_and_checks() -> None:
    services = a_well_shop(2)
    page = gather(SETTINGS, services.clients, NOW)
    assert page.runs.value is not None
    groups = dict(comparable(page.runs.value.newest[0], NOW)["groups"])
    assert list(groups) == ["Run", "Data", "Settings", "Metrics", "Checks"]
    assert ("learning_rate", "0.003") in groups["Settings"]
    assert ("fit.epochs", "10") in groups["Settings"]
    assert ("session items shown again all popularity", "passed, 0.1") in groups["Checks"]
    embedded = re.search(r'id="compared">(.*?)</script>', render(page, judge(page)), re.DOTALL)
    assert embedded is not None
    assert len(json.loads(embedded[1])) == 2


def test_the_page_is_put_on_s3_with_its_answer() -> None:
    services = a_well_shop(2)
    result = operations(SETTINGS, services.clients, NOW)
    assert result["answer"] == "yes"
    assert result["page_uri"] == f"s3://{MODELS_BUCKET}/{OPERATIONS_PAGE_KEY}"
    assert services.s3.objects[MODELS_BUCKET, OPERATIONS_PAGE_KEY].startswith(b"<!doctype html>")


def test_a_month_of_runs_stays_small() -> None:
    assert len(document(a_well_shop(28))) < 600_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "no data"),
        (0.4, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (7_260, "2 h 1 min"),
        (180_000, "2 d 2 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert took(seconds) == text


def test_numbers() -> None:
    assert [figure(value) for value in (None, 0, 12_345, 0.41234)] == ["no data", "0", "12,345", "0.412"]
    assert [percent(value) for value in (None, 0, 0.0123, 0.5)] == ["no data", "0%", "1.2%", "50%"]


def test_a_canary_is_shown_with_its_share_and_the_shop_is_well_meanwhile() -> None:
    services = a_well_shop(3)
    assert "canary" not in document(services)
    run = add_run(services, NOW - timedelta(minutes=20), 7, running_in="WaitForShoppers")
    record = services.s3.json(MODELS_BUCKET, current_key("demo"))
    name = f"tugboat-prod-demo--{run.run_id}"
    candidate = {"endpoint": "tugboat-prod-demo-candidate", "endpoint_config": name, "run_id": run.run_id}
    canary = {
        "release": {**record["release"], **candidate, "model_version": "the-new-model"},
        "share": 25,
        "began_at_ms": 0,
    }
    services.s3.put(MODELS_BUCKET, current_key("demo"), record | {"canary": canary})
    shown = document(services)
    assert "a canary has 25% of the sessions" in shown
    assert '<tr><th scope="row">canary <span class="tag warn">25% of the sessions</span></th>' in shown
    assert "the-new-model" in shown
    assert not judge(gather(SETTINGS, services.clients, NOW)).reasons
    outline = Outline(shown)
    assert set(outline.links) <= set(outline.ids)


TWO_SHOPS = msgspec.structs.replace(SETTINGS, trained_shops=ShopIds(("demo", "second")))


def two_shops() -> Services:
    """A well stage whose second shop has a release and traffic of its own."""
    services = a_well_shop(3)
    run = add_run(services, NOW - timedelta(hours=12), 6, shop="second")
    release(services, run, shop="second")
    stage = {"Stage": "prod", "Shop": "second"}
    services.cloudwatch.put(METRICS_NAMESPACE, "Recommendations", stage, "Sum", hourly(lambda _: 100))
    services.cloudwatch.put(METRICS_NAMESPACE, "Fallbacks", stage, "Sum", hourly(lambda _: 50))
    return services


def test_each_of_several_shops_has_its_endpoint_its_releases_and_its_figures() -> None:
    page = gather(TWO_SHOPS, two_shops().clients, NOW)
    shown = render(page, judge(page))
    for shop in ("demo", "second"):
        assert f">Shop {shop}</h3>" in shown
        assert f"tugboat-prod-{shop}" in shown
    assert "2 of 2 shops" in shown
    assert '<tr><th scope="row">second</th><td class="n">2,400</td><td class="n">50%</td>' in shown
    outline = Outline(shown)
    assert set(outline.links) <= set(outline.ids)


def test_a_shop_that_its_fallback_answers_or_that_has_no_endpoint_is_named() -> None:
    services = two_shops()
    services.sagemaker.endpoints["tugboat-prod-second"]["EndpointStatus"] = "Failed"
    texts = [one.text for one in judge(gather(TWO_SHOPS, services.clients, NOW)).reasons]
    assert texts[0] == "The endpoint tugboat-prod-second is Failed, so the fallback answers."
    assert any(one.startswith("The fallback answered 50% of the carousels of shop second") for one in texts)
    again = [
        one.action for one in judge(gather(TWO_SHOPS, services.clients, NOW)).reasons if "Failed" in one.text
    ]
    assert "make rollback STAGE=prod SHOP=second" in again[0]


def test_the_failed_run_of_one_shop_is_a_reason_although_another_shop_succeeded_later() -> None:
    services = two_shops()
    failed = add_run(services, NOW - timedelta(hours=2), 7, fails_in="Train", shop="second")
    add_run(services, NOW - timedelta(hours=1), 8)
    reasons = judge(gather(TWO_SHOPS, services.clients, NOW)).reasons
    assert any(
        one.text.startswith("The last run of shop second ended as FAILED in Train")
        and failed.run_id in one.link
        for one in reasons
    )
