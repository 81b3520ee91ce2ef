"""A Kubernetes to test on: three back ends behind one interface. Run it with `python -m e2e.cluster`."""
