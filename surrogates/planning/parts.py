"""What a recommender can do without, to see what each part is worth."""

import enum


class Part(enum.StrEnum):
    """A part that can be left out."""

    COST = "cost"
    """Configs are taken to cost alike."""
    FAILURES = "failures"
    """Trials that failed are forgotten instead of counting as the worst."""
    UNCERTAINTY = "uncertainty"
    """What is expected of every candidate is taken to come true."""
