"""What a Hubble node does, of which Picket makes use: held for the synthetic nodes and real ones."""
