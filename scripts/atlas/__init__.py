"""How the embedded data set is made, one source of facts per file."""
