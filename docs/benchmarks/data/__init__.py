"""Systems that are drawn or simulated, and builders of the data that the package ships."""
