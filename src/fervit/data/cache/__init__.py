"""Decode once: a cache of decoded data sets. `entries` keeps and verifies them, `space` bounds what they take."""

from fervit.data.cache.entries import cached, cached_array, content_hash
from fervit.data.cache.space import cannot_write

__all__ = ["cached", "cached_array", "cannot_write", "content_hash"]
