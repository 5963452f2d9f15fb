"""The first pass: nodes become operations of the array on named values."""
