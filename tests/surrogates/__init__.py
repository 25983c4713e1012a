"""Tests of what has been learned."""
