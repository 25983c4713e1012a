"""Where a sweep runs: connecting to Ray, and how many workers fit.

Knows Ray and, of our contracts, only the errors.
"""

EMBEDDED_STORE_BYTES = 128 * 2**20
"""The object store of an embedded cluster: what we send through one is small."""
