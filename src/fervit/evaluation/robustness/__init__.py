"""How predictions hold up when images get worse: corruptions, jitter of the detector's box, and named subsets."""
