"""From what is predicted to what is run, in which order and how far."""
