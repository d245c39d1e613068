"""`python -m destila` is the `destila` command."""

from destila.cli import main

if __name__ == "__main__":
    main()
