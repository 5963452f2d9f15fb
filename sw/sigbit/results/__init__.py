"""Results as data: rows in JSON files, and the pages rendered from them."""
