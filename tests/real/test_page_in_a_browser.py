"""The page in Chromium: what a person sees, by eye, by keyboard and by screen reader, on a desk and on a phone."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from pipeframe_async.observe.monitor.page import page
from pipeframe_async.observe.monitor.view import View
from pipeframe_async.stats import Health, Histogram, RunStats, Stats, StepReport
from tests.process.host_programs.started import Program, linux, program
from tests.real.servers import missing

playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="checks what a screen reader gets")

pytestmark = [pytest.mark.process, linux]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""Of Chromium, as root and without a network."""
SECRET = "4929-0000"
Scheme = Literal["light", "dark"]


def chromium() -> str:
    """Debian's, or whatever Chromium is on the path."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    missing("Chromium")
    raise AssertionError


@pytest.fixture
def browser() -> Iterator[Any]:
    binary = chromium()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=[*ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Program]:
    """A program with a monitor."""
    with program(tmp_path, "-m", "tests.real.monitored", "1200", str(tmp_path / "report.html")) as running:
        running.wait_until(lambda: "http://" in running.written)
        yield running
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.ends(within=10)


class Seen:
    """A page, and all it has complained of or asked for."""

    def __init__(self, browser: Any, url: str, *, scheme: Scheme = "light", width: int = 1200) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        self.page = context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url, wait_until="domcontentloaded")
        playwright.expect(self.page.locator("#run")).to_be_visible(timeout=10_000)

    def says(self, selector: str, text: str) -> None:
        playwright.expect(self.page.locator(selector).first).to_contain_text(text, timeout=10_000)


def url_of(shop: Program) -> str:
    return shop.written.split()[0]


def test_it_shows_flow_latency_failures_workers_and_where_the_time_goes(browser: Any, shop: Program) -> None:
    seen = Seen(browser, url_of(shop))
    seen.says("h1", "shop")
    seen.says("#state", "live and ready")
    seen.says("#bottleneck", "Bottleneck:")
    assert [each.split("\n")[0] for each in seen.page.locator("#flow li").all_inner_texts()] == [
        "feed",
        "parse",
        "enrich",
        "deliver",
    ]
    seen.says("#latency", "parse (worker)")
    seen.says("#workers", "crashed")
    seen.says("#counters", "parsed")
    assert "records/s" in seen.page.locator("#figures").inner_text()
    seen.page.get_by_role("button", name="Orders #1").click()
    seen.says("#bottleneck", "Ended: exhausted.")
    seen.says("#failures", "ValueError in parse")
    details = seen.page.locator("#failures details").filter(has_text="ValueError")
    details.locator("summary").click()
    playwright.expect(details.locator("pre")).to_contain_text("in parse")
    assert SECRET not in seen.page.content()
    assert seen.complaints == []


def test_it_opens_within_a_second_and_is_told_at_most_twice_a_second(browser: Any, shop: Program) -> None:
    seen = Seen(browser, url_of(shop))
    took = seen.page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert took < 1000
    seen.page.evaluate(
        "() => { window.times = []; const shown = show;"
        " window.show = told => { times.push(Date.now()); shown(told); }; }"
    )
    seen.page.wait_for_timeout(3_200)
    assert 4 <= len(seen.page.evaluate("times")) <= 7


def test_it_asks_nobody_else_for_anything(browser: Any, shop: Program) -> None:
    seen = Seen(browser, url_of(shop))
    seen.says("#state", "live")
    assert {url.split("?")[0] for url in seen.asked if not url.startswith("data:")} == {
        url_of(shop),
        f"{url_of(shop)}events",
    }


@pytest.mark.parametrize("width", [1200, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits(browser: Any, shop: Program, scheme: Scheme, width: int) -> None:
    seen = Seen(browser, url_of(shop), scheme=scheme, width=width)
    seen.page.get_by_role("button", name="Orders #1").click()
    seen.page.locator("#failures summary").first.click()
    results = axe.Axe().run(seen.page)
    assert results.violations_count == 0, results.generate_report()
    assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    if folder := os.environ.get("PIPEFRAME_SCREENSHOTS"):
        seen.page.screenshot(path=f"{folder}/page-{scheme}-{width}.png", full_page=True)


def test_all_of_it_can_be_reached_by_keyboard_and_stays_open_while_numbers_change(browser: Any, shop: Program) -> None:
    seen = Seen(browser, url_of(shop))
    seen.says("#failures", "ValueError in parse")
    reached = set()
    for _ in range(20):
        seen.page.keyboard.press("Tab")
        reached.add(seen.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"BUTTON", "flow", "SUMMARY"} <= reached
    seen.page.locator("#failures summary").first.focus()
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_timeout(1_200)  # two updates
    assert seen.page.locator("#failures details").first.evaluate("node => node.open")
    assert seen.page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_a_run_that_was_stopped_stays_and_says_how_it_ended(browser: Any, shop: Program) -> None:
    seen = Seen(browser, url_of(shop))
    seen.says("#state", "live")
    shop.process.send_signal(signal.SIGTERM)
    seen.says("#state", "ended")
    seen.says("#bottleneck", "Ended: stopped.")
    assert shop.ends(within=10) == 0
    seen.page.wait_for_timeout(4_000)
    seen.says("#state", "ended")


def test_a_program_that_was_killed_is_shown_as_gone(browser: Any, shop: Program) -> None:
    seen = Seen(browser, url_of(shop))
    seen.says("#state", "live")
    shop.process.kill()
    seen.says("#state", "gone")
    assert seen.page.locator("#flow li").count() == 4
    shop.process.wait()
    time.sleep(0.1)
    assert not shop.family()


def test_the_report_is_the_same_page_from_a_file(browser: Any, shop: Program) -> None:
    shop.process.send_signal(signal.SIGTERM)
    assert shop.ends(within=10) == 0
    seen = Seen(browser, f"file://{shop.place}/report.html")
    seen.says("#state", "report")
    seen.says("#bottleneck", "Ended: stopped.")
    seen.page.get_by_role("button", name="Orders #1").click()
    seen.page.locator("#failures summary").first.click()
    seen.says("#failures pre", "in parse")
    assert SECRET not in Path(f"{shop.place}/report.html").read_text()
    assert axe.Axe().run(seen.page).violations_count == 0
    assert [url for url in seen.asked if not url.startswith(("file:", "data:"))] == []
    assert seen.complaints == []


def test_steps_of_one_name_have_a_row_each_however_often_they_are_shown(browser: Any, tmp_path: Path) -> None:
    step = StepReport("<lambda>", "worker", 100, 1.0, 0.01, 0.01, 0.01)
    run = RunStats("Orders", state="closed", ended_by="exhausted", steps=(step, step, replace(step, name="price")))
    stats = Stats(runs=(run,))
    view = View("shop")
    view.see(stats)
    (tmp_path / "report.html").write_text(page(view.told(stats, Health(True, True), Histogram())))
    seen = Seen(browser, (tmp_path / "report.html").as_uri())
    for _ in range(5):
        seen.page.evaluate("show(FROZEN)")
    names = [name for name in seen.page.locator("#latency td:first-child").all_inner_texts() if "(worker)" in name]
    assert names == ["<lambda> (worker)", "<lambda> (worker)", "price (worker)"]
    assert seen.complaints == []
