"""Curve tables of other tools, in and out: Syne Tune blackboxes, qtt's CSV tables, Optuna studies."""
