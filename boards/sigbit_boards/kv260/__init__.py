"""AMD's KV260 starter kit."""
