"""The whole pipeline on a real cluster: each stopped packet in the right alert, no other in any."""
