"""Recipes: load, check, link, show."""
