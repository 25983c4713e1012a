"""Near-duplicates among many texts, in time linear in their length: MinHash, and neighbours in its buckets.

A text is the set of the hashes of its shingles, its sketch the smallest of them. Texts that share one of
their very smallest hashes meet in a bucket; sorted by sketch, near-duplicates stand side by side there, and
only neighbours are compared. Source: Broder, On the resemblance and containment of documents (1997).
"""

import zlib
from collections.abc import Sequence
from itertools import pairwise

_SHINGLE_BYTES = 8
"""Of UTF-8, so that scripts without spaces between words are treated as any other."""
_SKETCH = 64
"""Hashes kept; the likeness of longer texts is told from them within some 0.05."""
_BUCKETS = 4
"""Smallest hashes by which texts meet."""
_ALIKE = 0.8

_Sketch = tuple[int, ...]


def near_duplicates_share(texts: Sequence[str]) -> float:
    """Return how many texts have another that is nearly the same.

    Args:
        texts: At least one, in any order; case and white space are no matter.

    Returns:
        The share of texts for which another one was found with which it shares at least four fifths of all
        shingles that either has. Equal texts are always found.
    """
    sketches = sorted(map(_sketch, texts))
    buckets: dict[int, list[int]] = {}
    for index, sketch in enumerate(sketches):
        for value in sketch[:_BUCKETS]:
            buckets.setdefault(value, []).append(index)
    found: set[int] = set()
    for members in buckets.values():
        for pair in pairwise(members):
            if not found.issuperset(pair) and _likeness(*(sketches[index] for index in pair)) >= _ALIKE:
                found.update(pair)
    return len(found) / len(texts)


def _sketch(text: str) -> _Sketch:
    """Return the smallest hashes of a text's shingles, in order."""
    plain = " ".join(text.casefold().split()).encode()
    last = max(0, len(plain) - _SHINGLE_BYTES)
    hashes = {zlib.crc32(plain[start : start + _SHINGLE_BYTES]) for start in range(last + 1)}
    return tuple(sorted(hashes)[:_SKETCH])


def _likeness(left: _Sketch, right: _Sketch) -> float:
    """Estimate the Jaccard index of two texts' shingles; exact where both sketches are whole."""
    smallest = sorted({*left, *right})[:_SKETCH]
    return len({*left} & {*right}.intersection(smallest)) / len(smallest)
