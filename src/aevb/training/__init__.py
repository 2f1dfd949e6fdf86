"""Algorithm 1 as a LightningModule, with callbacks and loggers."""
