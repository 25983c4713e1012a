"""Synthetic tasks from documents, by a language model: passages, atomic facts, twelve questions a fact.

Imports the task records, the endpoint and the prompts; no torch.
"""
