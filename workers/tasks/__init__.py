"""Tasks: their records, loading from files and hubs, and the order in which examples are shown."""
