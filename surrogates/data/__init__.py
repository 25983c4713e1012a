"""A meta-dataset's numbers, made comparable: declared spaces, encodings, normalised scores."""
