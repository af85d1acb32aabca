"""What the engine knows, read for pages in a fixed number of queries."""
