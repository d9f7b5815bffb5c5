"""Catalogue feeds: Merchant Center, Shopify and WooCommerce files, read into the products of one shop.

python -m catalogue feed.xml --shop demo --dry-run
"""
