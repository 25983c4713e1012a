"""Wires everything together: what the commands do, as functions that a notebook can call.

May import every other package; nothing but ``orchestrator.cli`` imports it.
"""
