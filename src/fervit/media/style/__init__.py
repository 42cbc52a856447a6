"""How labels look in images and on the page: one colour for each name, and a font that has its letters."""
