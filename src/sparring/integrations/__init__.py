"""sparring's samplers in other libraries' training, and those libraries' samplers in ours.

A file per library, which alone imports it.
"""

# by the package that a sampler's class or its bases come from
HOSTS = {
    "pykeen": "sparring.integrations.pykeen",
    "torch_geometric": "sparring.integrations.pyg",
    "torchkge": "sparring.integrations.torchkge",
    "kge": "sparring.integrations.libkge",
}
