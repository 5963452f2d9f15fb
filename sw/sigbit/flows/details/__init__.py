"""What reports show beyond the tables: when engines work, what memories hold, how numbers use their
grids, and where errors come from.
"""
