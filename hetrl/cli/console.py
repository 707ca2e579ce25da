"""Where commands print to."""

from rich.console import Console

out = Console(markup=False, emoji=False)  # texts of recipes, paths and errors are printed as they are
err = Console(stderr=True, markup=False, emoji=False)
