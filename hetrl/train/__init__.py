"""Training with Lightning; the only importer of lightning beside the command line."""
