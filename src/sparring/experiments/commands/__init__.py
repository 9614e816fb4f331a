"""The commands of `sparring`, one module per group."""
