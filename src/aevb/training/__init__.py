"""Algorithm 1 as a LightningModule, and what a training run needs around it."""
