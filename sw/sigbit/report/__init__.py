"""Self-contained HTML reports: small functions that turn data into sections, and a page around
them.

``figures`` themes matplotlib's SVG, ``charts`` draws, ``components`` are tables, cards and similar
elements, ``sections`` combine them, ``page`` renders the document, ``metrics`` computes
utilization.
"""
