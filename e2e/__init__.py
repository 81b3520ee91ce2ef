"""End-to-end tests, their benchmarks, and the clusters that they run on."""
