"""What was measured, for people: HTML and Markdown reports, model cards, charts, sheets of faces."""
