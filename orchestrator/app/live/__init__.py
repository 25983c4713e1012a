"""The live comparison: every method really finetunes on tasks that its past does not know."""
