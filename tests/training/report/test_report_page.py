"""The page: whole, self-contained, small, escaped, the same each time; also after a failure."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re

import pytest

from training.dataset import TimeRange
from training.gate import ServingComparison
from training.label_flow import LabelFlow, SourceFlow
from training.report import (
    DeadCount,
    Fact,
    KindCount,
    NightlyReport,
    Parts,
    RunChange,
    SourceCount,
    StageCost,
    render,
)
from training.report.page import _duration, _share, _size
from training.report.plots import flow_svg, over_time_svg

SECTIONS = [
    "figures",
    "commands",
    "contracts",
    "changed",
    "gate",
    "beside",
    "precision-recall",
    "calibration",
    "scores",
    "thresholds",
    "reasons",
    "harm",
    "accounts",
    "wrong",
    "early",
    "precision-over-time",
    "recall-over-time",
    "features",
    "parts",
    "drift",
    "flow",
    "trend",
    "changes",
    "read",
    "dead",
    "parity",
    "trained",
    "costs",
    "facts",
]
OPTIONAL = {
    "figures",
    "commands",
    "contracts",
    "reasons",
    "harm",
    "accounts",
    "wrong",
    "early",
    "precision-over-time",
    "recall-over-time",
    "parts",
    "flow",
    "changes",
}  # left out where there is nothing to tell
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Sections, addresses, words and unbalanced tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)
            if tag == "section" and name == "id":
                self.sections.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def text(sample_report):
    return render(sample_report)


def test_every_section_is_there_and_every_tag_is_closed(text):
    page = Page(text)
    assert page.sections == SECTIONS
    assert page.open == []
    assert page.tags.count("svg") == 7


def test_nothing_comes_from_the_network(text):
    page = Page(text)
    assert "script" not in page.tags
    outside = [one for one in page.addresses if not one.startswith("#") and one != "data:,"]
    assert outside == []
    assert re.findall(r"\w+://", text) == []
    assert re.findall(r"url\((?!#)", text) == []
    assert "@import" not in text


def test_every_plot_says_what_it_shows(sample_report, text):
    told = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    assert len(told) == len(set(told)) == text.count("<svg")
    known = [day for day in sample_report.days if not day.young]
    (block,) = [one for one in known[-1].turned_out if one.action == "block"]
    young = len(sample_report.days) - len(known)
    (words,) = [one for one in told if one.startswith("precision over 14 days")]
    assert f"of which {young} have young labels" in words
    assert f"block {block.precision:.2f} on the last day with labels" in words


def test_every_card_is_in_the_list_of_sections_which_needs_no_mouse(text):
    page = Page(text)
    links = re.findall(r'<li><a href="#([^"]+)">([^<]+)</a></li>', text)
    assert [name for name, _ in links] == [one for one in SECTIONS if one != "figures"]
    assert all(f"<h2>{words}</h2>" in text for _, words in links)
    assert page.tags.index("summary") < page.tags.index("section")
    assert "tabindex" not in text and "onclick" not in text
    heads = re.findall(r"<th(?: [^>]*)?>", text)
    assert heads and all('scope="' in one for one in heads)


def test_the_plot_of_verdicts_says_their_sums_and_survives_any_name():
    names = ("$a_$b", "_hidden", "<b>&", "x" * 99)
    sources = tuple(SourceFlow(one, 3, 2, 1, (1, 2), (0, 1), 0, None, None) for one in names)
    made = flow_svg(LabelFlow((0, 86_400_000_000), sources))
    assert 'aria-label="verdicts of 2 days by 4 sources: 8 on the last day' in made
    assert "$a_$b" in made and "_hidden" in made and "&lt;b&gt;&amp;" in made
    assert "x" * 17 + "\N{HORIZONTAL ELLIPSIS}" in made and "x" * 19 not in made


def test_thin_rows_are_pale(text):
    (row,) = re.findall(r'<tr[^>]*><th scope="row">block</th><td data-l="on">accounts</td>', text)
    assert 'class="soft"' in row
    (row,) = re.findall(r'<tr[^>]*><th scope="row">block</th><td data-l="on">campaigns</td>', text)
    assert 'class="soft"' not in row


def test_young_days_alone_are_shaded(sample_report):
    def shaded(days):
        made = over_time_svg(days, "recall")
        return len(re.findall(r"<path[^>]*fill: var\(--line\); opacity: 0.6", made))

    young = sum(day.young for day in sample_report.days)
    assert shaded(sample_report.days) == young > 0
    assert shaded([day for day in sample_report.days if not day.young]) == 0


def test_the_page_is_small(text):
    assert len(text.encode()) < 400_000


def test_the_page_of_a_huge_run_is_below_2_mb_and_says_what_it_leaves_off(sample_report):
    long = "x" * 5_000
    (part,) = sample_report.parts
    rows = tuple(dataclasses.replace(one, value=long) for one in part.rows)
    huge = dataclasses.replace(
        sample_report,
        dead=tuple(DeadCount("decode", f"{at}{long}", 1) for at in range(10_000)),
        notes=(long,) * 10_000,
        parts=(Parts(long, rows),) * 300,
        facts=(Fact(long, long),) * 1_000,
        past=sample_report.past * 100,
        days=sample_report.days * 1_000,
        early=sample_report.early * 1_000,
        wrong=sample_report.wrong * 1_000,
        changed=(RunChange("setting", long, long, long),) * 1_000,
        harm=sample_report.harm * 1_000,
        reasons=sample_report.reasons * 1_000,
        parity=sample_report.parity * 1_000,
    )
    made = render(huge)
    assert len(made.encode()) < 2_000_000
    assert Page(made).open == []
    assert "9,940 of dead" in made and "940 of facts" in made
    assert "leaves off" not in render(sample_report)


def test_equal_reports_make_equal_pages(sample_report, text):
    assert render(sample_report) == text


def test_no_id_is_there_twice_and_all_that_are_referred_to_are_there(text):
    ids = Page(text).ids
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert len(referred) > 20 and referred <= set(ids)


def test_plots_take_the_pages_colours(text):
    assert "#0101" not in text
    for variable in ("--new", "--serving", "--baseline", "--bad", "--line"):
        assert f"var({variable})" in text


def test_what_was_found_is_said(text):
    words = " ".join(" ".join(Page(text).words).split())
    for told in (
        "5,902,118",
        "6,180,120 rows from 15 sources",
        "missing column",
        "< 0.01 % of the rows, duplicates aside; a run fails above 1.0 %.",
        "never fires",
        "distinct author_id of message events",
        "2 min 22 s",
        "3.35 GB",
        "a3d9e2b14c5f6071",
        "and 3 more",
        # 64,908 verdicts; of 401,002 that are not abuse on the gate slice 4,881 by a verdict
        "64,908 verdicts about 63,120 of these events",
        "911 from abuse to not (appeals, second looks), 204 from not to abuse",
        "4,881 396,121 12",
        "appeal 1,100 189 911",
        "m-2024-09-12-0000000000000003 2024-09-30 01:01 0.960 block a verdict",
        "lockstep bundle rollback --out /srv/out",
        "kept 0.722 (0.696\N{EN DASH}0.748)",
        "account_age 0.410 0.210 1.0 % 1.2 %",
        "(score) 0.0000 0.0310 0 % 0 %",  # wherever it stands
        "2024-09-30 failed \N{EN DASH} \N{EN DASH} \N{EN DASH} \N{EN DASH}",
        "AUC, 95 %",
        "setting labels.maturity 4d 3d",
        "threshold of block 0.912 0.934",
        "recall at block 0.512 \N{EN DASH}",
        "block campaigns 38 of 41 311 of 9,120 96.6 % 40,100 of 1,204,000 12.5 min",
        "block accounts 5 of 12 120 of 300 60.0 % \N{EN DASH} \N{EN DASH}",
        "ideal clean 1,204,118 41 late 38, missing event 3",
        "appeal 602 23 120 469 2.1 d 6.2 d",
        "review serving precision of at least 0.6 kept",
        "block 4,210 events, 1,000 of them explained",
        "what the text model says of the words text_score 62.0 % +2.31",
        "decode 6,180,120 61 s 1.42 GB",
    ):
        assert told in words, told


def test_new_and_serving_thresholds_are_told_on_the_same_events(sample_report, text):
    words = " ".join(" ".join(Page(text).words).split())
    for model, metrics in (("new", sample_report.metrics), ("serving", sample_report.serving)):
        (at,) = [one for one in metrics.at if one.action == "review"]
        precision = f"{at.flagged:,} {100 * at.precision:.1f} %"
        assert f"review {model} {at.value:.3f} {precision}" in words
    assert sample_report.metrics.at != sample_report.serving.at
    # measured apart from the whole gate slice: both figures are of that comparison
    smaller = dataclasses.replace(sample_report.metrics, at=sample_report.baseline.at)
    beside = ServingComparison(TimeRange(0, 1), smaller, sample_report.serving)
    apart = dataclasses.replace(sample_report, serving=None, beside=beside)
    words = " ".join(" ".join(Page(render(apart)).words).split())
    (at,) = [one for one in smaller.at if one.action == "review"]
    assert f"review new {at.value:.3f} {at.flagged:,}" in words
    stacked = "".join(text.split())
    for at in sample_report.metrics.at:  # with flagged and its share of abuse, the whole confusion
        for name, count in (("missed", at.missed), ("passed", at.passed)):
            assert f'data-l="{name}">{count:,}</td>' in stacked


@pytest.mark.parametrize(
    ("rows", "sources", "told"),
    [
        (0, 1, "This run read nothing new: an earlier run had published all days up to this one"),
        (0, 0, "The run ended before it had read its input."),
        (7, 1, "This run read 7 rows from 1 source."),
    ],
)
def test_what_was_read_is_explained(sample_report, rows, sources, told):
    read = tuple(SourceCount("events", rows) for _ in range(sources))
    made = dataclasses.replace(sample_report, rows=rows, sources=read, dead=())
    words = " ".join(" ".join(Page(render(made)).words).split())
    assert told in words and ("every record became an event" in words) == bool(rows)


def test_reports_of_earlier_builds_are_read(sample_report):
    plain = json.loads(sample_report.to_json())
    for new in (
        "notes",
        "commands",
        "verdicts",
        "wrong",
        "inputs",
        "drifts",
        "drift_since",
        "past",
    ):
        del plain[new]
    for one in plain["slices"]:
        del one["judged"]
    for name in ("metrics", "baseline", "serving"):
        del plain[name]["auc_low"], plain[name]["auc_high"]
        for at in plain[name]["at"]:
            for new in ("missed", "passed", "accuracy", "mcc", "mean_score", "min_precision"):
                del at[new]
    old = NightlyReport.from_json(json.dumps(plain).encode())
    assert old.metrics.average_precision == sample_report.metrics.average_precision
    page = Page(render(old))
    assert page.open == []
    assert "There is no earlier run whose inputs these could be compared with." in page.words


def test_a_failed_run_has_a_page_too():
    report = NightlyReport(
        name="chat",
        about="",
        as_of_us=0,
        outcome="failed",
        summary="decode: 3 % of 100 rows are dead letters, 1 % is allowed",
        rows=100,
        stages=(StageCost("decode", 0.2, 10**8),),
    )
    page = Page(render(report))
    assert page.sections == [one for one in SECTIONS if one not in OPTIONAL]
    assert "svg" not in page.tags
    words = " ".join(page.words)
    assert "The run ended before the gate." in words
    assert "no events" in words


def test_names_are_escaped(sample_report):
    odd = dataclasses.replace(
        sample_report,
        name="<b>&",
        kinds=(KindCount("<script>alert(1)</script>", 1, True),),
        facts=(Fact("<i>", "\"'>"),),
    )
    page = Page(render(odd))
    assert "script" not in page.tags
    assert "<b>&, " in page.words


def test_a_slice_with_one_class_draws_what_it_can(sample_report):
    metrics = dataclasses.replace(
        sample_report.metrics,
        auc=None,
        average_precision=None,
        average_precision_low=None,
        precision_recall=(),
    )
    page = Page(render(dataclasses.replace(sample_report, metrics=metrics)))
    assert page.tags.count("svg") == 6
    assert "Not measured." in page.words


def test_the_report_survives_json(sample_report):
    text = sample_report.to_json()
    assert NightlyReport.from_json(text) == sample_report
    assert json.loads(text)["outcome"] == "promoted"
    assert text == sample_report.to_json()


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.00001, "< 0.01 %"),
        (0.0084, "0.84 %"),
        (0.29142, "29.1 %"),
        (0.99999, "> 99.9 %"),
    ],
)
def test_shares_keep_what_they_tell(share, words):
    assert _share(share) == words


def test_times_and_sizes_for_people():
    assert [_duration(one) for one in (0.04, 9.96, 119.4, 141.5)] == [
        "0.0 s",
        "10 s",
        "119 s",
        "2 min 22 s",
    ]
    assert [_size(one) for one in (310_000_000, 999_000_000, 1_420_000_000)] == [
        "310 MB",
        "1.00 GB",
        "1.42 GB",
    ]


def test_what_turned_out_has_no_colour_where_enforcement_hides_abuse(sample_report):
    day = next(one for one in sample_report.early if not one.young)
    wrong = [dataclasses.replace(one, precision=0.01, recall=0.01) for one in day.turned_out]
    off = dataclasses.replace(
        sample_report, early=(dataclasses.replace(day, turned_out=tuple(wrong)),)
    )
    coloured = '<span class="no">1.0\N{NO-BREAK SPACE}%</span>'
    plain, held_out = render(off), render(dataclasses.replace(off, held_out=True))
    assert coloured in plain and coloured not in held_out
    assert "enforcement hides abuse" in plain and "enforcement hides abuse" in held_out
    assert "differences have no" in held_out and "differences have no" not in plain
