"""What jaxtwin claims, measured."""
