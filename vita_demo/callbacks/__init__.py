"""The callbacks that ship, and how they are named on the command line."""
