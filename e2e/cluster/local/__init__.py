"""The `local` back end: a single-node Kubernetes as processes of this host, without Docker and without systemd."""
