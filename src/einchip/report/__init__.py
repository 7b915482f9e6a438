"""A compiled and simulated model in one HTML file, in JSON and in CSV; see docs/report.md.

`gather` finds all figures (`data.Report`); `tables`, `figures` and `html` only show them.
"""

from einchip.report.data import Report
from einchip.report.runs import ReportError

__all__ = ["Report", "ReportError"]
