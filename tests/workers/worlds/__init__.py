"""Tests of the invented worlds."""
