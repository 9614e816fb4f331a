"""A comparison as an HTML report: its numbers (records), figures, tables and page."""

from sparring.extras import optional

for package in ("plotly", "jinja2"):
    optional(package, extra="report", purpose="the HTML report")

from sparring.experiments.report.page import write_report  # noqa: E402

__all__ = ["write_report"]
