"""Safety: what a model has memorised of its training images, and who was among them."""
