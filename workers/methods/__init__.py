"""The finetuning methods: what each trains, how it begins, and on which models it is valid.

``support`` and ``roles`` import neither torch nor PEFT.
"""
