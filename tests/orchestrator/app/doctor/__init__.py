"""What the doctor finds, judges and tells."""
