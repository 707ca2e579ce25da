"""From a checked recipe and a team to numbers."""
