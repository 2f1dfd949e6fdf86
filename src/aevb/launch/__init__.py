"""What Hydra and Lightning need to work together: several processes for one run, and sweeps that can be resumed."""
