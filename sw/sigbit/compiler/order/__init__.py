"""Program order, dependences, emission, and the last verifier."""
