"""Benchmarks that compare ganport with the alternatives a user would choose. One run measures both."""
