"""What a trial will need of a device, told before anything is loaded: memory, and whether it can run at all.

``estimate`` adds it up, ``fitting`` chooses micro-batches and how many trials share a GPU, ``examination``
refuses what can't run. Everything is arithmetic on the base model's shapes; weights are never read.
"""
