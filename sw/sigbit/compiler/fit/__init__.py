"""Passes that give every value a readable layout and split values that do not fit on chip."""
