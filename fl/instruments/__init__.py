"""What several experiments use and is no experiment itself."""
