"""Whatever is given as a file or a text, as a file here: typed on the command line, or as a value in Python."""
