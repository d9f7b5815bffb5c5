"""The pipeline's definition, the resources around it, and the commands that deploy and destroy them."""
