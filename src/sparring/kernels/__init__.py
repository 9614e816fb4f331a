"""Compiled loops over CPU tensors, each next to its PyTorch twin.

Every function here decides itself whether its loop runs, by `runtime.enabled_for`. Set the
environment variable SPARRING_KERNELS=0, or use `with kernels.disabled():`, to run the twins."""

from sparring.kernels.runtime import disabled

__all__ = ["disabled"]
