"""The command-line side of the journey: it sends events, follows the pipeline and judges what is served.

It speaks HTTP and boto3 only, so the same commands work against any stage. `demo/shop` is a small shop in a browser.
"""
