"""The recipe of `checkpoints/text`: a small Stable Diffusion folder of the embedded faces, made with PyTorch and diffusers.

It is trained outside jaxdiff on purpose, so that loading it is loading a foreign folder.
"""
