"""A sweep's report: one HTML file with pictures, opened without a server.

``write_report`` reads a root, also while a sweep writes to it, or a folder of tables; computes what is to be
seen in plain functions; and draws it. Nothing here trains, plans or writes to the root but the report itself.
"""

from orchestrator.app.report.writing import Report, write_report

__all__ = ["Report", "write_report"]
