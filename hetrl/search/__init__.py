"""Searching for the values of a recipe's words: trials that Optuna draws, trained as runs in one folder."""
