"""A package, for the dotted names of modules."""
