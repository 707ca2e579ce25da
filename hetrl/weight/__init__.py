"""HOW MUCH: what a sample counts for."""
