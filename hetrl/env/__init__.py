"""Environments: what the collector and TorchRL step, one file per simulator."""
