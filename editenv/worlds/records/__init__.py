"""Sessions from files: Edit-R2's MICE-Bench format, JSON Lines beside a folder of pictures."""
