"""Which folders are which packages, found anew at each build.

Everything else stands in pyproject.toml, which can map the top-level folders onto one import name but cannot
also search them for subpackages.
"""

from setuptools import find_packages, setup

FOLDERS = {
    "editenv": "editenv",
    "editenv.agents": "agents",
    "editenv.rewards": "rewards",
    "editenv.sims": "sims",
    "editenv.configs": "configs",
}


def packages() -> list[str]:
    """Import names of all packages: each top-level folder and what lies below it with an `__init__.py`."""
    return [
        name
        for root, folder in FOLDERS.items()
        for name in (root, *(f"{root}.{found}" for found in find_packages(folder)))
    ]


setup(packages=packages(), package_dir=FOLDERS)
