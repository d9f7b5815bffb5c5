/* The number of the interface that this library was compiled for: header.py. Another number is refused when it is loaded. */
#include "kernels.h"

extern const uint64_t interface_number;
const uint64_t interface_number = INTERFACE;
