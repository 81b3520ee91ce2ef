"""What programs share: the kinds, conditions, names, config files, progress and exit codes. Imports nothing of ours."""
