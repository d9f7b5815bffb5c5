"""The code that SageMaker runs: training, the gate's evaluation, and inference. functions/ never imports it."""

import os

# OpenMP's threads spin while they wait for each other. By default they spin so long that training has a tenth of its speed
# when other processes use the same cores. This many rounds (some microseconds) cost idle cores little. libgomp reads it once,
# when torch is loaded: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
