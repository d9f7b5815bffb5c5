"""Split the change of a figure into the stages of the funnel, and name the causes that the data supports."""
