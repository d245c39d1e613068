"""`python -m destila` is the `destila` command."""

from destila.cli.main import main

if __name__ == "__main__":
    main()
