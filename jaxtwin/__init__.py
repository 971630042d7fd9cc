"""Differentiable cardiac electrophysiology twins in JAX."""
