"""Evaluation: filtered ranking, metrics by group, audits of samplers, and predictions by name.

`ranking.evaluate` ranks, `breakdown` groups the ranks and compares models, `audit.audit` measures
what a sampler draws, and `predict.predict` completes triples.
"""
