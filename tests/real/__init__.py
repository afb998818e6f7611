"""What is shown on a real cluster alone: real packets, real policies, a real relay."""
