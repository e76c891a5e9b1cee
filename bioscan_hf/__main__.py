"""`python -m bioscan_hf` is `bioscan`; launchers such as `accelerate launch -m bioscan_hf` need it."""

from bioscan_hf.cli import main

if __name__ == "__main__":
    main()
