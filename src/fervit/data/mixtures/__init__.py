"""Several data sets as one: each keeps the size and the channels of its images."""
