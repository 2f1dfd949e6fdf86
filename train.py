"""Train a model: `python train.py model=gaussian data=freyface`; `python train.py --help` lists the settings."""

from aevb.apps.program import start

if __name__ == "__main__":
    start("train")
