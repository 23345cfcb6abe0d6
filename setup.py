"""Packages: the library, and the configs of a clone as its data."""

from setuptools import find_namespace_packages, find_packages, setup

CONFIGS = "panoptic_blend.configs"

setup(
    packages=[
        *find_packages(include=["panoptic_blend", "panoptic_blend.*"]),
        CONFIGS,
        *(f"{CONFIGS}.{name}" for name in find_namespace_packages("configs")),
    ],
    package_dir={CONFIGS: "configs"},
)
