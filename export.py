"""Export a trained model: `python export.py run=outputs/…`; `python export.py --help` lists the settings."""

from aevb.apps.program import start

if __name__ == "__main__":
    start("export")
