"""The Prefect UI as a user has it: in a browser, by what can be read and clicked there.

A screenshot of each step goes to the folder that GRADSIEVE_SCREENSHOTS names, else to pytest's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.command_line.flow_commands import CONFIGURATIONS
from tasks.config import CleanConfig
from tasks.versions.history import History
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.object_store import Objects

pytest.importorskip("selenium", reason="selenium is not installed: pip install '.[test]'")

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

if TYPE_CHECKING:
    from conftest import Serving

MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.server,
    pytest.mark.browser,
    pytest.mark.timeout(600),  # three runs beside a browser, on a busy machine
    pytest.mark.skipif(
        bool(MISSING), reason=f"no {' and no '.join(MISSING)}: apt-get install chromium chromium-driver"
    ),
]

# How long the UI is waited for, and a run.
PAGE, RUN = 60, 240
# Seconds after which a person presses a button again that a busy server did not answer, and how often.
PATIENCE, ATTEMPTS = 5, 6
# A run's page draws its timeline sixty times a second, without a GPU by most of a processor: no test looks at it.
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-3d-apis", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--window-size=1400,1000",
)  # fmt: skip
# A cleaning of a few seconds.
SMALL = {
    "dataset": "moons", "reader": {"kind": "digits", "options": {"limit": 250}},
    "budget": {"kind": "share", "options": {"share": 0.05}},
    "advanced": {
        "training": {"epochs": 1}, "detectors": ["l2"], "verification": {"seeds": 1},
        "folds": 2, "canaries": {"share": 0.0},
    },
}  # fmt: skip
# The deployments as they are shipped, and what they are runs of.
SHIPPED = {
    "nightly": "clean",
    "on-new-data": "clean",
    "by-hand": "compare",
    "on-request": "trace",
    "weekly": "maintain",
}
FORM = (*(name.replace("_", " ").title() for name in CleanConfig.first), "Advanced")

# What the labels of a form's fields are, and whether anything explains them: [label, depth, description].
FIELDS = """
    const own = (field, what) => field.querySelector(':scope > .p-label__header ' + what)?.textContent.trim() ?? '';
    const depth = (field) => {
        let above = 0;
        while (field = field.parentElement.closest('.schema-form-property')) above += 1;
        return above;
    };
    return [...arguments[0].querySelectorAll('.schema-form-property')]
        .map(field => [own(field, '.schema-form-property__label').replace(' (Optional)', ''), depth(field),
                       own(field, '.schema-form-property__description')])
        .filter(([label]) => label);
"""


class Page:
    """The browser, as its user: what is read is looked for until it is there."""

    def __init__(self, driver: WebDriver, serving: Serving, folder: Path) -> None:
        self.driver, self.serving, self.folder = driver, serving, folder

    def open(self, path: str) -> None:
        self.driver.get(f"{self.serving.address}{path}")

    def leave(self) -> None:
        """Look at nothing for as long as a run is waited for, whose page would draw its timeline all the while."""
        self.driver.get("about:blank")

    def until(self, found: Callable[[], object], what: str, seconds: float = PAGE):
        """Wait for it; what was found."""
        try:
            waiting = WebDriverWait(self.driver, seconds, 0.2, [StaleElementReferenceException])
            return waiting.until(lambda _: found())
        except TimeoutException:
            self.shot("timeout")
            told = [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[attr-defined]
            raise AssertionError(f"no {what} at {self.driver.current_url}: {told}\n{self.text()[:3000]}") from None

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def all(self, path: str, within: WebElement | None = None) -> list[WebElement]:
        return [found for found in (within or self.driver).find_elements(By.XPATH, path) if found.is_displayed()]

    def the(self, path: str, within: WebElement | None = None) -> WebElement:
        return self.until(lambda: next(iter(self.all(path, within)), None), path)

    def click(self, text: str, within: WebElement | None = None) -> None:
        """A button, a tab or a link, by its words."""
        button = self.the(f".//*[self::button or self::a or self::li][normalize-space()='{text}']", within)
        self.show(button)
        button.click()

    def show(self, element: WebElement) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)

    def field(self, *labels: str, within: WebElement | None = None) -> WebElement:
        """A field of a form, by its label and those of what it is in."""
        path = "."
        for label in labels:
            own = f"./div[@class='p-label__header']//span[text()='{label} (Optional)' or text()='{label}']"
            path += f"//div[contains(concat(' ', @class, ' '), ' schema-form-property ')][{own}]"
        return self.the(path, within)

    def write(self, field: WebElement, text: str) -> None:
        box = self.the(".//textarea | .//input", field)
        self.show(box)
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(text)

    def click_toggle(self, field: WebElement) -> None:
        switch = self.the(".//*[contains(@class, 'p-toggle__control')]", field)
        self.show(switch)
        switch.click()

    def fields(self, within: WebElement | None = None) -> list[list]:
        """[label, depth, description] of each field in a form."""
        return self.driver.execute_script(FIELDS, within or self.the("//body"))

    def shot(self, name: str) -> None:
        self.driver.save_screenshot(str(self.folder / f"{name}.png"))


def small(shipped: dict) -> dict:
    """A deployment's parameters as they are, but that a run of it takes seconds."""
    return shipped | SMALL | {"advanced": shipped["advanced"] | SMALL["advanced"]}


def make_small(serving: Serving) -> None:
    """A deployment clean/small beside clean/nightly, which stays as it is shipped; it is scheduled never."""
    nightly = serving.ask(f"deployments/{serving.deployments['nightly']}", "GET")
    copied = ("flow_id", "work_pool_name", "path", "entrypoint", "pull_steps", "parameter_openapi_schema")
    fields = {name: nightly[name] for name in copied} | {"enforce_parameter_schema": True}  # type: ignore[call-overload]
    parameters = {"config": small(nightly["parameters"]["config"])}  # type: ignore[call-overload]
    never = {"active": False, "schedule": {"cron": "0 2 * * *"}}
    serving.ask("deployments/", **fields, name="small", parameters=parameters, schedules=[never])


@pytest.fixture(scope="module")
def serving(serve, tmp_path_factory) -> Serving:
    """With runs by clean/small that take seconds."""
    serving = serve(tmp_path_factory.mktemp("browsed") / "lake")
    make_small(serving)
    return serving


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, serving, tmp_path) -> Page:
    folder = Path(os.environ.get("GRADSIEVE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return Page(driver, serving, folder)


def by_hand(serving: Serving, deployment: str = "small") -> dict[str, dict]:
    """Runs of a deployment that its schedule did not make, by their ids."""
    runs = serving.runs(deployments={"id": {"any_": [serving.deployments[deployment]]}})
    return {run["id"]: run for run in runs if not run["auto_scheduled"]}


def done(page: Page, run: str) -> None:
    """Wait for a run, and look at nothing meanwhile; it is Completed."""
    page.leave()

    def ended() -> str | None:
        state = page.serving.state(run)
        return state if state in ("Completed", "Failed", "Crashed", "Cancelled") else None

    assert page.until(ended, "end of the run", RUN) == "Completed", page.serving.log()[-3000:]


def opened(page: Page, deployment: str) -> WebElement:
    """The form of a deployment's custom run."""
    page.open(f"/deployments/deployment/{page.serving.deployments[deployment]}")
    page.click("Run")
    page.click("Custom run")
    return page.field("config")


def submitted(page: Page, deployment: str = "small") -> str:
    """Press Submit; the run. Where the server was too busy to answer, again after a while, as a person would."""
    before, again, refusals = by_hand(page.serving, deployment), [time.monotonic()], []

    def made() -> set[str]:
        new = by_hand(page.serving, deployment).keys() - before.keys()
        button = page.all("//button[normalize-space()='Submit']")
        # The message goes away by itself, sooner than a person presses again.
        refusals.extend(page.all("//*[contains(text(), 'Oops. Something went wrong')]"))
        if not new and refusals and button and time.monotonic() - again[-1] > PATIENCE and len(again) <= ATTEMPTS:
            again.append(time.monotonic())
            refusals.clear()
            # What went wrong lies on the button.
            page.driver.execute_script("arguments[0].click()", button[0])
        return new

    page.click("Submit")
    return page.until(made, "run", RUN).pop()


@pytest.fixture(scope="module")
def asked() -> dict[str, str]:
    """Runs by what they were for; tests look at those of earlier ones."""
    return {}


def test_the_ui_that_opens_first_is_the_one_looked_at_here_and_asks_no_other_host(page, serving):
    page.driver.delete_all_cookies()  # which of its two UIs a browser had last is kept in one
    page.open("/")
    page.the("//*[normalize-space()='Switch to V2 UI']")
    asked = page.driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked
    assert [name for name in asked if name.startswith("http") and not name.startswith(serving.address)] == []


def test_a_run_is_asked_for_in_a_form_that_explains_every_field_and_is_done_as_it_was_filled_in(page, serving, asked):
    config = opened(page, "small")
    found = page.fields()
    assert [label for label, depth, _ in found if depth == 1] == list(FORM)
    assert [label for label, _, words in found if not words] == []
    for name in CleanConfig.first:
        assert CleanConfig.model_fields[name].description in page.field(name.title(), within=config).text
    page.shot("form-1-first-fields")
    for name in ("reader", "model", "budget"):
        choice = CleanConfig.model_fields[name].annotation
        kinds = Select(page.the(".//select", page.field(name.title(), "Kind", within=config)))
        assert [option.text for option in kinds.options] == list(choice.registry.components)
        assert kinds.first_selected_option.text == SMALL.get(name, {"kind": choice().kind})["kind"]

    page.write(page.field("Dataset", within=config), "by-the-form")
    Select(page.the(".//select", page.field("Model", "Kind", within=config))).select_by_visible_text("logistic")
    page.show(page.field("Model", within=config))
    page.shot("form-2-filled-in")
    page.show(page.field("Advanced", within=config))
    page.shot("form-3-advanced")
    run = submitted(page)
    shipped = {"lake": str(serving.lake), "advanced": {"base": "auto"}}
    given = CleanConfig.model_validate(small(shipped) | {"dataset": "by-the-form", "model": "logistic"})
    assert CleanConfig.model_validate(by_hand(serving)[run]["parameters"]["config"]) == given
    done(page, run)
    page.open(f"/runs/flow-run/{run}")
    page.the("//*[normalize-space()='Completed']")
    assert "clean by-the-form" in page.text()
    page.shot("form-4-done")
    asked["by the form"] = run


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("Hours", ("config.review.hours", "0 is less than or equal to the minimum of 0")),
        ("Options", ("config.reader.options", "'limt' is not one of ['noise', 'limit'")),
        ("link", ("'tarot' is not one of", "'iforest'")),
    ],
)
def test_what_is_wrong_is_refused_in_words_where_it_was_filled_in_and_no_run_is_made(page, serving, wrong, words):
    if wrong == "link":
        # Nobody types it; somebody may send it.
        linked = json.dumps({"config": {"lake": str(serving.lake), "advanced": {"detectors": ["tarot"]}}})
        form = f"/deployments/deployment/{serving.deployments['small']}/run?parameters="
        page.open(form + urllib.parse.quote(urllib.parse.quote(linked, safe=""), safe=""))
    else:
        opened(page, "small")
    if wrong == "Hours":
        page.write(page.field("Review", "Hours"), "0")
    if wrong == "Options":
        page.write(page.field("Reader", "Options"), json.dumps({"limt": 600}))
    before = by_hand(serving)
    page.click("Submit")
    # By the server, or by the form beside the field.
    said = "contains(text(), 'Error creating flow run') or contains(@class, 'p-label__message--failed')"
    told = page.the(f"//*[{said}]")
    page.show(told)
    page.shot(f"refused-{wrong.lower()}")
    assert all(word in told.text for word in words), told.text
    assert page.field("config")  # to be mended there
    assert by_hand(serving).keys() == before.keys()


@pytest.mark.parametrize("deployment", SHIPPED)
def test_a_shipped_form_that_is_submitted_untouched_starts_its_run(page, serving, deployment, asked):
    """Of a few seconds or not: a run that takes its parameters is at work, and need not end here."""
    assert asked.get("by the form"), "a trace needs a recorded run"
    opened(page, deployment)
    page.shot(f"untouched-{deployment}")
    run = submitted(page, deployment)
    kind = CONFIGURATIONS[SHIPPED[deployment]]
    stored = serving.ask(f"deployments/{serving.deployments[deployment]}", "GET")["parameters"]["config"]  # type: ignore[call-overload]
    given = by_hand(serving, deployment)[run]["parameters"]["config"]
    assert kind.model_validate(given) == kind.model_validate(stored)

    def states() -> list[str]:
        return [state["name"] for state in serving.ask(f"flow_run_states/?flow_run_id={run}", "GET")]

    page.leave()
    page.until(lambda: {"Running", "Failed", "Crashed"} & set(states()), "run at work", RUN)
    assert "Running" in states()
    if serving.state(run) == "Running":
        serving.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"})
        page.until(lambda: serving.state(run) not in ("Running", "Cancelling"), "end of the run", RUN)


def test_a_number_and_a_toggle_that_are_changed_reach_the_run(page, serving):
    config = opened(page, "weekly")
    page.write(page.field("Keep", within=config), "3")
    page.click_toggle(page.field("Dry Run", within=config))
    run = submitted(page, "weekly")
    given = MaintainConfig(lake=serving.lake, keep=3, dry_run=True)
    assert MaintainConfig.model_validate(by_hand(serving, "weekly")[run]["parameters"]["config"]) == given
    done(page, run)


def test_a_schedule_that_is_made_shorter_starts_runs_by_itself(page, serving):
    home = f"deployments/{serving.deployments['small']}"
    (nightly,) = serving.ask(home, "GET")["schedules"]  # type: ignore[call-overload]
    place, run = f"{home}/schedules/{nightly['id']}", ""

    def scheduled(*others: str) -> list[str]:
        """Runs that it made and that did not merely wait for their time, or are in one of other states."""
        runs = serving.runs(deployments={"id": {"any_": [serving.deployments["small"]]}})
        return [
            r["id"]
            for r in runs
            if r["auto_scheduled"] and (r["state_type"] != "SCHEDULED" or r["state_name"] in others)
        ]

    try:
        # From every night to twice a minute, for the first time in a moment.
        soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        serving.ask(place, "PATCH", active=True, schedule={"interval": 30, "anchor_date": soon})
        page.leave()
        run = page.until(scheduled, "run by the schedule", RUN)[0]
        page.open(f"/{home.replace('s/', 's/deployment/')}")
        page.the("//*[normalize-space()='auto-scheduled']")
        page.shot("schedule-1-shortened")
    finally:
        serving.ask(place, "PATCH", active=False, schedule=nightly["schedule"])
        for late in set(scheduled("AwaitingConcurrencySlot", "Late")) - {run}:
            serving.ask(f"flow_runs/{late}/set_state", state={"type": "CANCELLED"}, force=True)
    done(page, run)
    page.open(f"/runs/flow-run/{run}")
    page.the("//*[normalize-space()='Completed']")
    page.the("//*[normalize-space()='auto-scheduled']")
    page.shot("schedule-2-done")


def test_a_run_that_waits_for_a_person_asks_in_a_form_and_remembers_who_approved_what(page, serving):
    config = opened(page, "small")
    page.write(page.field("Dataset", within=config), "asks")
    page.click_toggle(page.field("Review", "Required", within=config))
    page.write(page.field("Review", "Hours", within=config), "1")
    advanced = SMALL["advanced"] | {"detectors": ["l2", "l1"]}
    page.write(page.field("Advanced", within=config), json.dumps(advanced))
    page.shot("form-5-one-of-each-kind")
    run = submitted(page)
    shipped = {"lake": str(serving.lake), "review": {"required": True, "hours": 1}}
    given = CleanConfig.model_validate(SMALL | shipped | {"dataset": "asks", "advanced": advanced})
    assert CleanConfig.model_validate(by_hand(serving)[run]["parameters"]["config"]) == given
    page.leave()
    page.until(lambda: serving.state(run) == "Paused", "pause", RUN)
    page.open(f"/runs/flow-run/{run}")
    page.click("Resume")
    form = page.the("//div[@class='p-modal__card' or contains(@class, 'p-modal__card ')]")
    decision = page.field("Decision", within=form)
    (flagged,) = re.findall(r"(\d+) of \d+ training samples are flagged", form.text)
    assert "held-out model says" in form.text
    assert [option.text for option in Select(page.the(".//select", decision)).options] == ["approve", "reject", "rows"]
    assert {label for label, _, words in page.fields(form) if not words} == set()
    reviewer = page.field("Reviewer", within=form)
    assert page.the(".//textarea | .//input", reviewer).get_attribute("value") == ""  # not who the worker runs as
    page.write(reviewer, "ann")
    page.write(page.field("At Most", within=form), "3")
    page.write(page.field("Note", within=form), "looked at each")
    page.shot("review-1-form")
    page.click("Submit", form)
    # Who leaves the page before takes the answer along.
    page.until(lambda: serving.state(run) != "Paused", "answer", RUN)
    done(page, run)
    page.open(f"/runs/flow-run/{run}")
    page.the("//*[normalize-space()='Completed']")
    page.shot("review-2-done")

    made = History(Objects(serving.lake / "versions"), "asks").manifest(2)
    assert made.removed == 3
    decided = pq.read_table(serving.lake / "versions" / "asks" / made.rows_of.decided)
    by_ann = decided.filter(pc.field("decided_by") == "ann")
    # Each of those that she was shown: what stays is a decision too.
    assert by_ann.num_rows == int(flagged) > 3
    assert sorted(set(by_ann["decision"].to_pylist())) == ["keep", "remove"]
    (answer,) = (json.loads(path.read_text()) for path in (serving.lake / "reviews").glob("*/answer.json"))
    assert [answer[name] for name in ("decision", "at_most", "reviewer", "note")] == [
        "approve", 3, "ann", "looked at each",
    ]  # fmt: skip


def test_a_run_shows_what_it_found_as_text_and_figures(page, serving, asked):
    run = asked.get("by the form") or pytest.skip("the run by the form was not made")
    page.open(f"/runs/flow-run/{run}")
    page.click("Artifacts")

    def card(name: str) -> WebElement:
        """Those of tasks are drawn when they come into view."""
        page.show(page.the("//*[normalize-space()='Task runs']"))

        def seen() -> WebElement | None:
            for found in page.driver.find_elements(
                By.XPATH, f"//a[contains(@href, '/artifacts/artifact/')][.//*[.='{name}']]"
            ):
                page.show(found)
                if found.is_displayed():
                    return found
            return None

        return page.until(seen, f"artifact {name}")

    for name in ("summary", "suspects", "audit", "held-out-suspects", "report", "worth", "classes", "suspicion"):
        assert card(name)
    page.shot("artifacts-1-list")
    card("summary").click()
    page.the("//h1[normalize-space()='by-the-form']")
    for heading in ("Ingested", "Flagged", "Published"):
        page.the(f"//h2[normalize-space()='{heading}']")
    page.the("//a[normalize-space()='The page of this run'][starts-with(@href, 'http://127')]")
    page.shot("artifacts-2-summary")
    for name in ("worth", "suspicion"):
        page.open(f"/runs/flow-run/{run}")
        page.click("Artifacts")
        card(name).click()
        figure = page.the("//img[starts-with(@src, 'data:image/svg')]")
        page.until(lambda figure=figure: int(figure.get_attribute("naturalWidth")) > 300, f"picture of {name}")
        page.shot(f"artifacts-3-{name}")


def test_the_link_in_the_ui_leads_to_the_page_of_the_run(page, serving, asked):
    run = asked.get("by the form") or pytest.skip("the run by the form was not made")
    links = serving.ask("artifacts/filter", artifacts={"key": {"any_": ["report"]}})
    (link,) = (link["data"] for link in links if link["flow_run_id"] == run)
    (address,) = re.findall(r"\((http://127[^)]+\.html)\)", link)
    page.driver.get(address)
    page.the("//h2[starts-with(normalize-space(), 'Decide about') or starts-with(normalize-space(), 'Nothing')]")
    page.shot("page-1-by-http")
    assert page.driver.execute_script("return document.querySelector('.progress').textContent").endswith("decided")
