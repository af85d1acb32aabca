"""`python -m esml_engine.cli`."""

from esml_engine.cli import main

if __name__ == "__main__":
    main()
