"""From finished runs to a page for people."""

from sparring.experiments.report.page import write_report

__all__ = ["write_report"]
