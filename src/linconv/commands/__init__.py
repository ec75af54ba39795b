"""The commands of the command line, one a file; `running.py` has what they share."""
