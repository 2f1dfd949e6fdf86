"""Make a report: `python report.py runs=outputs/sweeps/<name>`; `python report.py --help` lists the settings."""

from aevb.apps.program import start

if __name__ == "__main__":
    start("report")
