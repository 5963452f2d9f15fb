"""AMD's KR260 starter kit."""
