"""Commands that make models: train, distil, pre-train, combine, export."""
