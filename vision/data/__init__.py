"""Data sets with their licences: manifests, pictures, checks, attribution."""
