"""A module with no application."""
