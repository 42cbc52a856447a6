"""Charts: what they are drawn on, and those of a search over settings; a report's are in `fervit.reports.plots`."""
