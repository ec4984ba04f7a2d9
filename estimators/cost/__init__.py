"""What an operation costs on a device: matrix products, attention, memory traffic, collectives; how a layout cuts them."""
