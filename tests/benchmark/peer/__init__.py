"""The peer side of the benchmarks: BenchMARL and stock TorchRL, measured beside our own code."""
