"""What any process of Picket needs: lifecycle, settings, logs, metrics, health, time."""
