"""What a network costs on a device: exact counts, honest measurements, latency models."""
