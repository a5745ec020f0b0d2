"""Networks: the reference-aware U-Net, autoencoders, face recognisers."""
