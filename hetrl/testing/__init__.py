"""Does a component keep the contract that recipes rely on? Checks for your own tests, and the fake batches they use.

>>> check_component("loss/clipped_surrogate", clip=0.1)
"""

from hetrl.testing.batch import N_OTHER, N_SAMPLES
from hetrl.testing.contract import check_component
from hetrl.testing.subject import fake_batch

__all__ = ["N_OTHER", "N_SAMPLES", "check_component", "fake_batch"]
