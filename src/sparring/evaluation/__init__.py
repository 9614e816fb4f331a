"""Evaluation: filtered ranking, metrics by group, audits of samplers, and predictions by name.

`ranking.evaluate` ranks, `breakdown` groups the ranks and compares models, and `audit.audit`
measures what a sampler draws. `predict.predict` completes triples, `triples` scores whole ones,
`probability.fit_calibration` turns scores into probabilities, and `explain.explain` gives reasons.
"""
