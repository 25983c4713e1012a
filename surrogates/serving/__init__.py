"""A recommender that is kept warm and asked from elsewhere; Ray in ``actor`` and ``client`` only."""
