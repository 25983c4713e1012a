"""Killing what a sweep runs on, and proving that nothing of it is lost."""
