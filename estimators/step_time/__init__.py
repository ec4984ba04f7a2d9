"""What one training step takes on a cluster: op by op, cut by a layout, with every part of the time named."""
