"""The templates of pages and notebooks, and what they are filled with."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from labkit.plain import one_line, plain
from labkit.report import words
from labkit.verdict.summary import Summary

TEMPLATES = Environment(
    loader=PackageLoader("labkit.report"),
    autoescape=True,
    finalize=lambda value: value if isinstance(value, Markup) else plain(value),
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Escapes everything a template prints, and shows control characters."""


def fragment_html(summary: Summary) -> str:
    """Render the verdict and its numbers, as a notebook shows them."""
    return TEMPLATES.get_template("fragment.html.j2").render(context(summary))


def context(summary: Summary) -> dict[str, object]:
    """Return what the templates are filled with."""
    return {
        "summary": summary,
        "open_loop": summary.workload.get("concurrency") is None,
        "headword": words.HEADWORD[summary.verdict],
        "plain_words": one_line(words.plain_words(summary)),
        "headlines": words.headlines(summary),
        "trial_headings": words.TRIAL_HEADINGS,
        "trials": words.trial_cells(summary),
        # with trials each has its own row above; a row a region of each would be a wall
        "recovery": [words.recovery_cells(row) for row in summary.recovery if not summary.trials],
        "waterfalls": words.waterfalls(summary),
        "recovery_headings": words.RECOVERY_HEADINGS,
        "service_title": words.SERVICE_TITLE,
        "service_headings": words.SERVICE_HEADINGS,
        "service": words.service_rows(summary.service),
        "latency_headings": words.LATENCY_HEADINGS,
        "latencies": words.latency_tables(summary.latency),
        "failure_headings": words.FAILURE_HEADINGS,
        "failures": words.failure_rows(summary.failures),
        "HEADWORD": words.HEADWORD,
        "check_name": words.check_name,
    }
