"""Photos and videos: decode, crop, draw, write."""
