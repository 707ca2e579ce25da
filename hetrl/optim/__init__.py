"""HOW TO STEP: what a turn does with its loss."""
