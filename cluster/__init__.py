"""Where a sweep runs: connecting to Ray, and how many workers fit.

Knows Ray and, of our contracts, only the errors.
"""
