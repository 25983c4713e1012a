"""Tests of workers.training."""
