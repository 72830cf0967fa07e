"""Reporting without torch: means with bootstrap intervals, tables, and learning curves."""
