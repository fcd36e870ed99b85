"""Attention layers of others, written anew for comparison: what a user of e3nn has today."""
