"""What cluster.doctor finds, on made-up and on real machines."""
