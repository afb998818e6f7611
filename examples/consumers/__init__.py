"""Programs that read Picket's topics from outside: take them as a start for your own."""
