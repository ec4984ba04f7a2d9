"""What a set of experiments took, as it is disclosed: device time, training compute, energy, CO2. Arithmetic and facts alone."""
