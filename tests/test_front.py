"""The front page: what it says of the results, how long it is, and where its links lead."""

import re

import pytest

from common import session
from common.files import ROOT
from tools import front
from tools.notebooks import CourseError

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("S*/README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_into_the_course_leads_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    missing = [link for link in links if ":" not in link and not (page.parent / link).exists()]
    assert not missing
    assert links or page.name not in ("README.md", "running.md")  # the pattern still finds them


def test_the_front_page_is_short_and_shows_something_at_once():
    lines = (ROOT / "README.md").read_text().splitlines()
    first_figure = next(number for number, line in enumerate(lines, 1) if line.startswith("!["))
    first_badge = next(number for number, line in enumerate(lines, 1) if "colab-badge.svg" in line)
    assert len(lines) <= 130 and first_figure <= 12 and first_badge <= 25


def test_the_findings_hold():
    assert all(finding.holds for finding in front.findings())


def test_a_finding_that_no_longer_holds_is_refused(monkeypatch):
    untrue = front.holes()._replace(holds=False)
    monkeypatch.setattr(front, "findings", lambda: [untrue])
    with pytest.raises(CourseError, match="holes"):
        front.list_findings()


def test_minutes_are_those_that_the_notebooks_say():
    assert front.minutes(session.read("S7_mnist")) == "11"  # 1 + 5 + 5; the reader's own network takes what it takes


def test_every_session_has_networks_of_others_and_of_ours():
    for name in session.names():
        assert all(front.split_points(session.read(name)))
