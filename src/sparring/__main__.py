"""`python -m sparring` is the `sparring` command."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory: its files are data, not modules
    from sparring.experiments.cli import main

    main()
