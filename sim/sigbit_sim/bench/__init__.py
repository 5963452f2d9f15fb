"""Bus models and doubles for testbenches."""
