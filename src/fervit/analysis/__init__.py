"""A video study: statistics, events and figures of the rows that `fervit predict` writes of videos.

`study.study` reads rows, `recording` gives every frame its duration, `episodes` and `statistics` count, `frames` makes
data frames and files of them, `events` writes for annotation tools, and `timeline` and `contact` draw.
"""
