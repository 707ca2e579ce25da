"""Policies as files that need no hetrl: written, run against what they come from, and a player beside them."""
