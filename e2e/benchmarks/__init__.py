"""Measurements, side by side with the alternative in the same run; run with scripts/bench."""
