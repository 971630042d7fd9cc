"""What each command does; `jaxtwin/__main__.py` alone prints."""
