"""The comparisons behind the documentation, each a function of a config."""
