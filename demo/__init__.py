"""The command line around the product: send events, follow the pipeline, score the served recommendations.

It speaks HTTP and boto3 only, so the same commands work against any stage. `demo/shop` is a small shop in a browser.
"""
