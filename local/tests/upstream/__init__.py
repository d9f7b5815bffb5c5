"""Minimal reproductions of defects in moto and fakesnow, for reports to their projects.

Each test passes while the defect exists. A failure after a change of a pin means: remove the patch, the row in
local/README.md and the test.
"""
