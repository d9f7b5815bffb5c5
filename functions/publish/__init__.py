"""From a model that passed its gate to an endpoint that serves it: publish, prove, and the way back."""
