"""Auto-Encoding Variational Bayes (Kingma & Welling, 2014) in PyTorch Lightning, configured by Hydra."""

from importlib.metadata import version

__version__ = version("aevb")
