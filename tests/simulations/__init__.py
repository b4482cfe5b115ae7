"""Every promise of an interval, a bound or a test, simulated: `python -m tests.simulations` shows them in a table."""
