"""WHAT IS IT WORTH: advantages, returns and targets, without gradient."""
