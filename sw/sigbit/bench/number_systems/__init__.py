"""The benchmark of number systems."""
