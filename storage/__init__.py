"""Where finished audio is kept: a directory or an S3-compatible service, behind one seam."""
