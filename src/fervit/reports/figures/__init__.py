"""Figures for papers: charts of several models and data sets, as PNG, SVG or PDF at the width of a column."""
