"""`python -m stormfold` is `stormfold`."""

from stormfold.cli import main

if __name__ == "__main__":
    main()
