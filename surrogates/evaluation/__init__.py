"""Replaying recorded curves: what a method would have found on a task that it has not seen."""
