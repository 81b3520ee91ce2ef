"""The `hanse` command and the kubectl plugin."""
