"""Base models: where they lie, loading them once, and the embedded one with the command that made it.

``location`` and ``tiny_phi3`` import without torch.
"""
