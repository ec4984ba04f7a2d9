"""Facts with their sources: models, hardware, prices, published runs and throughput, electricity, tools."""
