"""`picket policy`: what policies mean, from files alone; a module for each command."""
