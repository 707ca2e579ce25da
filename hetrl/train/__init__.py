"""Training with Lightning: the module, the data, and what accompanies a fit."""
