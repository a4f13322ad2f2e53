"""What made the files that come with the package: run by hand, from the root of the repository."""
