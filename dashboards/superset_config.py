"""Settings of the Superset on this machine. Superset reads this file in its own environment (SUPERSET_CONFIG_PATH).

AUTH_ROLE_PUBLIC stays unset: with it, API tokens act as the public role, and every list is empty.
"""

import os

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["SUPERSET_DATABASE_URI"]
APP_NAME = "Tugboat"
# Pages load nothing from elsewhere. The front end has a tracking pixel that no setting removes: this policy stops it.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "connect-src": ["'self'"],
        "default-src": ["'self'"],
        "font-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "object-src": "'none'",
        "script-src": ["'self'", "'strict-dynamic'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "worker-src": ["'self'", "blob:"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": False,
}
# Only Superset's own tables and Snowflake are there: no examples, uploads, alerts and thumbnails.
FEATURE_FLAGS = {"ALERT_REPORTS": False, "THUMBNAILS": False}
RATELIMIT_ENABLED = False
SUPERSET_WEBSERVER_TIMEOUT = 300
