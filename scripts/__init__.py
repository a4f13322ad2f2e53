"""Scripts that create the bundled files. Run each script by hand, from the root of the repository."""
