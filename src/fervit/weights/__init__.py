"""Where models come from that are not here yet: by name from a release, by id from the Hub; fetched once, verified."""
