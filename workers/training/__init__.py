"""The trainer: encoded examples in, learning curves out. No Ray; imports of torch are in its modules."""
