"""Training on several processes or machines, by `torch.distributed`; one process is the case W = 1.

Entity tables are sharded by row, relation tables replicated. V virtual workers own the queries and
the rows, and W ranks share these out evenly, so that no result depends on W. The way in is the
table `[distributed]` of an experiment; see docs/howto/distributed.md."""
