"""What holds for all tests."""

import os
import signal

# Ray starts workers at niceness 15: beside the tests that wait for them they would starve.
os.environ.setdefault("RAY_worker_niceness", "0")

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
