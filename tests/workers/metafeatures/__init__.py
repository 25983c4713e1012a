"""Tests of workers.metafeatures."""
