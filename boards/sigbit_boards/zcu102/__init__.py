"""AMD's ZCU102."""
