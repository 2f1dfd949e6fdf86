"""Inference without a recognition model: Hamiltonian Monte Carlo and importance weights."""
