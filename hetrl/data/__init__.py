"""Collection and storage as one iterable."""
