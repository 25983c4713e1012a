"""Tests of the meta-dataset."""
