"""What the end-to-end tests, the demo and the benchmarks share: kubectl, the installation, jobs, faults."""
