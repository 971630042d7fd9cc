"""Made-up exports of mapping systems, written to their layouts with the traps of real files."""
