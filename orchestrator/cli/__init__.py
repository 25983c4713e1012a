"""The command line: the thin face of ``orchestrator.app``. Importing it imports neither Ray nor torch."""
