"""Sweeps as jobs on a remote Ray cluster."""
