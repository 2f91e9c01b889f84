"""Image classifiers from outside that the programs share: ONNX files, CLIP models, and the safety checker of diffusers."""
