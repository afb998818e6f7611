"""The rules of the house, held over all files at once."""
