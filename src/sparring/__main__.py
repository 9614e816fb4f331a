"""`python -m sparring` is the `sparring` command."""

from sparring.experiments.cli import main

if __name__ == "__main__":
    main()
