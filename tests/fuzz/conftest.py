"""``pytest tests/fuzz --fuzz-seed=N`` runs one case of the fuzzer again."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option; it is known where pytest is called with this folder."""
    parser.addoption("--fuzz-seed", type=int, help="run one case of the fuzzer again")


@pytest.fixture
def one_seed(request):
    """Return the seed that was asked for, or None."""
    return request.config.getoption("--fuzz-seed", None)
