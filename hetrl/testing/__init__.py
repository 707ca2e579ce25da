"""Does a part keep the contract that recipes rely on? A check for every kind, and the fake batches they use.

>>> check_component("loss/clipped_surrogate", clip=0.1)
>>> check_optim("optim/adam", lr=1e-3)
"""

from hetrl.testing.batch import N_OTHER, N_SAMPLES
from hetrl.testing.contract import check_component
from hetrl.testing.data import check_data
from hetrl.testing.env import check_env
from hetrl.testing.net import check_net
from hetrl.testing.optim import check_optim
from hetrl.testing.order import check_order
from hetrl.testing.subject import fake_batch

__all__ = [
    "N_OTHER",
    "N_SAMPLES",
    "check_component",
    "check_data",
    "check_env",
    "check_net",
    "check_optim",
    "check_order",
    "fake_batch",
]
