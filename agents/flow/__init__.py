"""Flow matching: time grids, stochastic transitions with their log-densities, and the window sampler."""
