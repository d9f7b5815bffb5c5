"""What SageMaker runs: training, the gate's evaluation, and inference. Never imported by functions/."""

import os

# OpenMP's threads wait for each other spinning: where other processes want the same cores, training then runs at a
# twentieth of its speed. It reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
