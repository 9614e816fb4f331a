"""Data: files become a `KnowledgeGraph`, which is split, checked and indexed.

`read` takes a source to a graph by way of `formats` and `tables`; `validation` reports what is
wrong with it as `diagnostics`. `graph` holds the triples by split, `vocabulary` the names behind
the ids, `index` the look-up of answers, `statistics` the counts. `datasets` lists the public
benchmarks.
"""
