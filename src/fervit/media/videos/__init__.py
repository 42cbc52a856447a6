"""Parts of reading and writing videos."""
