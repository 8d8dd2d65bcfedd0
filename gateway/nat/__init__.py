"""Finding out under which address the world sees us."""
