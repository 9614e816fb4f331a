"""Experiments: a config file becomes a run, runs become a comparison, and both a report.

`config` reads the file, `run` trains and evaluates what it describes, and `compare` does so for
several samplers and seeds. `cli` and `commands` are the command line.
"""
