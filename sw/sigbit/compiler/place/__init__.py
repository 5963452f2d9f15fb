"""Passes that lay out values and give them addresses on chip."""
