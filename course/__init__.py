"""What makes, measures and publishes the course: `python -m course NAME`. No lesson imports it."""
