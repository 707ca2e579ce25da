"""Runs as folders on a disk: training into them, going on, and what they hold."""
