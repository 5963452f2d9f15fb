"""Passes that give every value a readable layout and cut what does not fit on chip."""
