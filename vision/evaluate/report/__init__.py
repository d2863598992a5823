"""Reports that open from disk: one HTML file, no network, no server."""
