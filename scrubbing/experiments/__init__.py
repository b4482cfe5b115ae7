"""The calls that a user makes: `scrub`, and the questions that many runs of it answer."""
