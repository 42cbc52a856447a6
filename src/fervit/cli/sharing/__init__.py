"""Commands that fetch models by name and push them."""
