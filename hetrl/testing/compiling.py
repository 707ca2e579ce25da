"""What has to be off while something is compiled into one graph."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping
import torch


@contextmanager
def for_compiling() -> Iterator[None]:
    """Turn off what would break the graph: checks of shapes at run time, and warnings of torch at its own code.

    The compiler's trace, long and empty, goes too.
    """
    checked, silent = jaxtyping.config.jaxtyping_disable, logging.root.manager.disable
    jaxtyping.config.update("jaxtyping_disable", True)
    logging.disable(max(silent, logging.DEBUG))
    torch.compiler.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", checked)
        logging.disable(silent)
