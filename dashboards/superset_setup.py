"""Prepare Superset's own database: tables, roles and the administrator. Runs in Superset's environment, safe to run again.

One process instead of the three commands `superset db upgrade`, `superset init` and `superset fab create-admin`.
The password comes by the environment, because other users of the machine can read a command line.
"""

import os

from flask_migrate import upgrade
from superset.app import create_app


def main() -> None:
    """Upgrade the tables, sync the roles, and set the administrator's password."""
    app = create_app()
    with app.app_context():
        upgrade(directory=os.path.join(app.root_path, "migrations"))
        from superset import appbuilder, db, security_manager

        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        name, password = os.environ["SUPERSET_ADMIN"], os.environ["SUPERSET_ADMIN_PASSWORD"]
        user = security_manager.find_user(name)
        if user:
            security_manager.reset_password(user.id, password)
        else:
            role = security_manager.find_role("Admin")
            security_manager.add_user(name, "Tugboat", "Administrator", f"{name}@localhost", role, password)
        db.session.commit()


if __name__ == "__main__":
    main()
