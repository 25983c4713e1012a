"""What holds for all tests."""

import os

# Ray starts workers at niceness 15: beside the tests that wait for them they would starve.
os.environ.setdefault("RAY_worker_niceness", "0")
