"""The tests mirror src/aevb: the test of x/y.py is tests/x/test_y.py."""

from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "aevb"

WHOLE = {
    "apps/test_conditional.py": "runs of models that take conditions, from start to end",
    "apps/test_configs.py": "conf/",
    "apps/test_experiments.py": "conf/experiment/",
    "apps/test_readme.py": "README.md and docs/",
    "data/test_configs.py": "conf/data/",
    "data/test_lightning.py": "data modules and loaders under a Trainer",
    "likelihoods/test_docs.py": "docs/likelihoods.md",
    "sweeps/test_sweep.py": "sweeps from start to end",
    "test_gpu_check.py": "benchmarks/gpu_check.py",
    "test_layout.py": "tests/",
    "test_notebooks.py": "docs/notebooks/",
    "test_project.py": "pyproject.toml",
    "test_site.py": "zensical.toml and docs/",
}
"""Tests of something other than one file of src/aevb, and what that is."""

KINDS = ("campaigns", "cluster")
"""Folders of such tests."""


def test_each_test_file_mirrors_a_source_file_or_is_listed():
    unknown = []
    for path in sorted(TESTS.rglob("test_*.py")):
        file = path.relative_to(TESTS)
        tested = SOURCE / file.with_name(file.name.removeprefix("test_"))
        of_all_parts = file.stem == "test_all" or file.stem.startswith("test_all_")  # of its folder
        if not (tested.exists() or of_all_parts or file.as_posix() in WHOLE or file.parts[0] in KINDS):
            unknown.append(f"{file}: there is no {tested.relative_to(SOURCE.parents[1])}")
    assert not unknown, "\n".join(unknown)
    assert all((TESTS / name).exists() for name in WHOLE)


def test_each_folder_of_tests_mirrors_one_of_the_source():
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert [str(name) for name in folders if name.parts[:1] not in [(kind,) for kind in KINDS]
            and not (SOURCE / name).is_dir()] == []  # fmt: skip
