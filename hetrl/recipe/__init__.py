"""The language: from text to a checked recipe. Nothing here builds a network or runs one."""
