"""How a training step is executed: eager, recorded or compiled."""
