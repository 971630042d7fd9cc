"""monodomain."""
