"""What the pytest plugin is made of: scores worked out once per run, why an assertion failed, and a report of all."""
