"""Decisions: pure functions from what was observed and the time to a status and actions. One file for each policy."""
