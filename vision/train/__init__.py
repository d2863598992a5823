"""Training, with torch: backbones, features, the probe, export. Nothing outside this package imports torch."""
