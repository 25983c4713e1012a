"""Models of performance, cost and failure, and how far to trust each of them."""
