"""Environments that others wrote, as teams of hetrl's: what :func:`hetrl.register` is given is wrapped here.

``own`` wraps a class or a function, and looks at what it makes. PettingZoo's parallel environments are for
``parallel``, TorchRL's for ``torchrl``. Both step Python objects, a row each (``simulated``, ``simulator``), in this
process or in several (``workers``).
"""
