"""Evaluate a trained model: `python evaluate.py run=outputs/…`; `python evaluate.py --help` lists the settings."""

from aevb.apps.program import start

if __name__ == "__main__":
    start("evaluate")
