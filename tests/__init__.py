"""The tests; a package, because MONAI Label's wheel installs one of the same name."""
