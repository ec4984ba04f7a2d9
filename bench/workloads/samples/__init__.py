"""Models of images, speech, latents, and images beside a text: a training step and a forward pass on made-up samples of the right kind."""
