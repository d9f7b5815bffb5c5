"""What SageMaker runs: training, the gate's evaluation, and inference. Never imported by functions/."""

import os

# OpenMP's threads wait for each other spinning, by default so long that training runs at a tenth of its speed where
# other processes want the same cores. This many rounds (some microseconds) cost idle cores next to nothing. libgomp
# reads it once, when torch is loaded: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
