"""What a network policy means: parsing, selecting, compiling and explaining.

Pure: the standard library and re2 only; no clock, log, environment, network or file.
"""
