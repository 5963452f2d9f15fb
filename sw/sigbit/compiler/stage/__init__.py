"""The pass that stages constants, loads, fills and stores."""
