"""Analyses: functions of a map, one subject a file."""
